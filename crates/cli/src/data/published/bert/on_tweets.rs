//! A BERT with the tweets that it is narrowed by and measured on.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Bert, Published};
use crate::data::published::Places;
use crate::data::published::tweets::{LISTS, Texts};

/// A BERT, and tweets that other programs have used with it.
#[derive(Clone, Debug)]
pub struct OnTweets {
    /// The network.
    pub bert: Bert,
    /// The tweets that [`LISTS`] names.
    pub texts: Texts,
    /// SHA-256 of the files of the network, and of the lists.
    pub sha256: BTreeMap<String, String>,
}

impl OnTweets {
    /// A network and tweets.
    pub fn new(bert: Bert, texts: Texts) -> Self {
        let mut sha256 = bert.sha256.clone();
        sha256.extend(
            texts.sha256.get_key_value(LISTS).map(|(name, sum)| (name.clone(), sum.clone())),
        );
        Self { bert, texts, sha256 }
    }

    /// Both from disk, of tweets that are loaded; or what is missing. Nothing is downloaded: the lists are on disk or nowhere.
    ///
    /// # Errors
    /// Where the lists belong to other tweets, or a file of the network is missing or damaged.
    pub fn find(
        published: &Published,
        places: &Places,
        texts: &Texts,
    ) -> Result<Result<Self, String>> {
        let Some(texts) = texts.listed(places)? else {
            return Ok(Err(format!(
                "{}: wanted {LISTS} in a folder of data, found none",
                published.name
            )));
        };
        Ok(Bert::on_disk(published, places)?.map(|bert| Self::new(bert, texts)))
    }
}
