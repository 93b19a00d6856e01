//! What is done to images before they enter a network, as the metadata of a student keep it.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::options::ImageOptions;
use super::prepared::channel_words;

/// Size, color and normalization of images; intensities are divided by 255 before the latter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageSteps {
    /// Height and width to which the images of a folder are resized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<[usize; 2]>,
    /// Whether the images of a folder are made gray.
    #[serde(default)]
    grayscale: bool,
    /// What is subtracted from each channel, or from all; 0 where it is empty.
    #[serde(default)]
    mean: Vec<f64>,
    /// What each channel, or all, is divided by then; 1 where it is empty.
    #[serde(default)]
    std: Vec<f64>,
}

impl ImageSteps {
    /// Key of the metadata of a network's file.
    pub(crate) const KEY: &'static str = "distill.images";

    /// What was done to images: `folder` are height, width and whether they are gray, of the images of a folder.
    pub(super) fn of(options: &ImageOptions, folder: Option<([usize; 2], bool)>) -> Self {
        Self {
            size: folder.map(|(size, _)| size),
            grayscale: folder.is_some_and(|(_, is_gray)| is_gray),
            mean: options.image_mean.clone(),
            std: options.image_std.clone(),
        }
    }

    /// The value of the metadata.
    pub(crate) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// With the size and color of others, where these are not of a folder: what is known of images is not lost when a
    /// network is narrowed again by arrays.
    pub(crate) fn with_size_of(mut self, others: &Self) -> Self {
        if self.size.is_none() {
            (self.size, self.grayscale) = (others.size, others.grayscale);
        }
        self
    }

    /// What the metadata of a file say.
    ///
    /// # Errors
    /// Where they are of another program or damaged.
    pub(crate) fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).with_context(|| format!("metadata `{}`", Self::KEY))
    }

    /// In words: "32 x 32 pixels, gray, intensities divided by 255, (x − 0.5) / 0.25".
    pub(crate) fn words(&self) -> String {
        let size = self.size.map(|[h, w]| format!("{h} x {w} pixels"));
        let color =
            self.size.map(|_| if self.grayscale { "grayscale" } else { "color" }.to_owned());
        let scaled = self.size.map(|_| "intensities divided by 255".to_owned());
        let parts = [size, color, scaled, self.normalization()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// "(x − 0.5) / 0.25", where there is a normalization.
    pub(crate) fn normalization(&self) -> Option<String> {
        (!self.mean.is_empty() || !self.std.is_empty()).then(|| {
            let (mean, std) = (channel_words(&self.mean, 0.0), channel_words(&self.std, 1.0));
            format!("(x − {mean}) / {std}")
        })
    }

    /// The options with what the file of a network says where they say nothing, and what is to be said of it.
    ///
    /// Size and color are those of a folder of images; other data have theirs.
    pub(crate) fn with_options(
        &self,
        options: &ImageOptions,
        is_folder: bool,
    ) -> (ImageOptions, Vec<String>) {
        let mut taken = options.clone();
        let mut notices = Vec::new();
        let mut overruled = |option: &str, ours: String, theirs: String| {
            notices.push(format!("{option} {ours} overrules what the file says, {theirs}"));
        };
        let list = |values: &[f64]| {
            let words: Vec<String> = values.iter().map(f64::to_string).collect();
            words.join(",")
        };
        let sizes = |[h, w]: [usize; 2]| format!("{h}x{w}");
        if is_folder {
            match (options.image_size, self.size) {
                (Some(ours), Some(theirs)) if ours != theirs => {
                    overruled("--image-size", sizes(ours), sizes(theirs));
                }
                (None, theirs) => taken.image_size = theirs,
                (Some(_), _) => {}
            }
            if options.grayscale && self.size.is_some() && !self.grayscale {
                overruled("--grayscale", String::new(), "color".to_owned());
            }
            taken.grayscale |= self.grayscale;
        }
        let normalizations = [
            ("--image-mean", &options.image_mean, &self.mean, &mut taken.image_mean, 0.0),
            ("--image-std", &options.image_std, &self.std, &mut taken.image_std, 1.0),
        ];
        for (option, ours, theirs, taken, default) in normalizations {
            if ours.is_empty() {
                taken.clone_from(theirs);
            } else if ours != theirs {
                let theirs = if theirs.is_empty() { list(&[default]) } else { list(theirs) };
                overruled(option, list(ours), theirs);
            }
        }
        (taken, notices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_options_leave_open_and_a_contradiction_is_said() {
        let steps =
            ImageSteps { size: Some([8, 6]), grayscale: true, mean: vec![0.5], std: vec![0.25] };
        assert_eq!(ImageSteps::from_json(&steps.to_json().unwrap()).unwrap(), steps);
        assert_eq!(
            steps.words(),
            "8 x 6 pixels, grayscale, intensities divided by 255, (x − 0.5) / 0.25"
        );
        let none = ImageOptions::default();
        let (taken, notices) = steps.with_options(&none, true);
        assert_eq!((taken.image_size, taken.grayscale), (Some([8, 6]), true));
        assert_eq!((&taken.image_mean[..], &taken.image_std[..]), (&[0.5][..], &[0.25][..]));
        assert!(notices.is_empty(), "{notices:?}");
        // Arrays have their size and color.
        let (taken, _) = steps.with_options(&none, false);
        assert_eq!((taken.image_size, taken.grayscale), (None, false));
        assert_eq!(taken.image_mean, [0.5]);
        let own = ImageOptions {
            image_mean: vec![0.0],
            image_std: vec![0.25],
            image_size: Some([8, 8]),
            ..none
        };
        let (taken, notices) = steps.with_options(&own, true);
        assert_eq!((taken.image_size, &taken.image_mean[..]), (Some([8, 8]), &[0.0][..]));
        assert_eq!(
            notices,
            [
                "--image-size 8x8 overrules what the file says, 8x6",
                "--image-mean 0 overrules what the file says, 0.5"
            ]
        );
        assert!(
            ImageSteps::from_json("{\"size\":3}")
                .unwrap_err()
                .to_string()
                .contains("distill.images")
        );
    }
}
