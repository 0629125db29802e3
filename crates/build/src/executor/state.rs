//! What a stage is so far, and the variables it sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use wharf_engine::images::{Image, ImageLayer};
use wharf_oci::digest::ChainId;
use wharf_oci::image_config::ImageConfig;

/// A stage in the middle of its steps.
#[derive(Clone, Default)]
pub(super) struct State {
    /// The image of the last step; `None` in a stage from scratch before its first.
    pub(super) image: Option<Arc<Image>>,
    /// The configuration of the next.
    pub(super) config: ImageConfig,
    /// The layers so far.
    pub(super) layers: Vec<ImageLayer>,
    /// `ARG`s declared in this stage that have a value.
    pub(super) args: BTreeMap<String, String>,
    /// Whether this Dockerfile set CMD: then ENTRYPOINT does not take it away.
    pub(super) cmd_is_ours: bool,
}

impl State {
    /// Goes on from an image.
    pub(super) fn adopt(&mut self, image: Arc<Image>) {
        self.config = image.config.clone();
        self.layers.clone_from(&image.layers);
        self.image = Some(image);
    }

    pub(super) fn chain(&self) -> Option<ChainId> {
        ChainId::of(self.layers.iter().map(|layer| &layer.diff_id))
    }

    /// A variable: the environment wins over arguments.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let env = self.config.config.env.iter().rev().find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| value.to_owned())
        });
        env.or_else(|| self.args.get(name).cloned())
    }

    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let env = &mut self.config.config.env;
        match env.iter_mut().find(|old| old.split_once('=').is_some_and(|(key, _)| key == name)) {
            Some(old) => *old = pair,
            None => env.push(pair),
        }
    }

    /// The shell of commands in shell form.
    pub(super) fn shell(&self) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        self.config.config.shell.clone().unwrap_or_else(default)
    }
}
