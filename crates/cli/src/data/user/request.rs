//! Which examples a command wants, and the options that do not fit what was found.

use std::path::Path;

use anyhow::{Result, bail};

use super::columns::Purpose;
use super::options::{ImageOptions, Options, Scope};

/// Which examples, and how to read them.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The option that names them.
    pub(crate) flag: &'a str,
    /// A file, a folder of images or a known data set.
    pub(crate) word: &'a str,
    /// Folder of downloads.
    pub(crate) cache: &'a Path,
    pub(crate) options: &'a Options,
    /// Options of images, of a command that has them.
    pub(crate) images: Option<&'a ImageOptions>,
    pub(crate) purpose: Purpose,
    /// Extents of the network's input without the batch, where they are known before the data are read.
    pub(crate) input_shape: Option<&'a [usize]>,
    /// Whether the command line says that a row is an image.
    pub(crate) is_image: bool,
    /// Whether the command reads no other data, so that an option that these do not obey is a mistake.
    pub(crate) is_only: bool,
}

impl<'a> Request<'a> {
    /// The only data of a command that fits a network to them: `--data`, with targets.
    pub(crate) fn supervised(word: &'a str, cache: &'a Path, options: &'a Options) -> Self {
        let (purpose, flag) = (Purpose::Supervised, "--data");
        let (images, input_shape, is_image, is_only) = (None, None, false, true);
        Self { flag, word, cache, options, images, purpose, input_shape, is_image, is_only }
    }

    /// The only data of a command that takes any network: `--data`, with labels where there are any; they become a network's
    /// input by [`super::Examples::prepared`].
    ///
    /// A command that reads more data says so by `is_only` = false and another `flag`.
    pub(crate) fn of_network(
        word: &'a str,
        cache: &'a Path,
        (options, images): (&'a Options, &'a ImageOptions),
        input_shape: Option<&'a [usize]>,
    ) -> Self {
        let (purpose, images) = (Purpose::Network, Some(images));
        Self { purpose, images, input_shape, ..Self::supervised(word, cache, options) }
    }

    /// n: features that the network takes, where that is known.
    pub(super) fn n_inputs(&self) -> Option<usize> {
        self.input_shape.map(|shape| shape.iter().product())
    }

    /// Refuses options that what was found obeys none of: all but those `obeyed`.
    pub(crate) fn check_options(&self, obeyed: &[Scope], found: &str) -> Result<()> {
        let of_images = self.images.into_iter().flat_map(ImageOptions::given);
        let mut given = self.options.given().chain(of_images);
        match given.find(|(_, by)| !obeyed.contains(by)) {
            Some((option, by)) if self.is_only => {
                bail!("{option}: expected {} as {}, found {found}", by.wanted(), self.flag)
            }
            _ => Ok(()),
        }
    }
}
