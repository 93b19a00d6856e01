//! Whole networks of other programs.

use std::error::Error;
use std::path::{Path, PathBuf};

use models::onnx::ExternalError;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Folders of whole networks with probes: those of `DISTILL_DATA`'s `models`, and of `ONNX_ZOO`; none without either.
pub(crate) fn network_folders() -> Outcome<Vec<PathBuf>> {
    let mut places = Vec::new();
    places.extend(std::env::var_os("DISTILL_DATA").map(|data| PathBuf::from(data).join("models")));
    places.extend(std::env::var_os("ONNX_ZOO").map(PathBuf::from));
    let mut folders = Vec::new();
    for place in places {
        for entry in std::fs::read_dir(place)? {
            let path = entry?.path();
            let has_probe =
                ["probe.npz", "probe.safetensors"].iter().any(|name| path.join(name).exists());
            if has_probe && path.join("model.onnx").exists() {
                folders.push(path);
            }
        }
    }
    folders.sort();
    Ok(folders)
}

/// Reads the external data of a network.
pub(crate) fn external(
    folder: &Path,
) -> impl FnMut(&str, u64, usize) -> Result<Vec<u8>, ExternalError> + '_ {
    move |location, offset, n| {
        let bytes = std::fs::read(folder.join(location))?;
        let start = usize::try_from(offset)?;
        Ok(bytes.get(start..start + n).ok_or("the file is too short")?.to_vec())
    }
}
