//! Fetching the files of a manifest, each checked before it gets its name.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::folders::HALVES;
use super::manifest::{File, Hub, Manifest};
use super::{imagenette, verify};
use crate::files::{progress_target, read, write_whole};

/// A host that has not answered by then counts as out of reach.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A host that has taken a request and sends nothing by then, too.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A file that is not here by then never will be.
const FILE_TIMEOUT: Duration = Duration::from_secs(1800);
/// What a progress bar shows.
const BAR: &str = "{msg} {bar:30} {bytes}/{total_bytes} {eta}";
/// Bytes read at once.
const CHUNK: usize = 1 << 16;

/// What became of a download.
pub(super) enum Fetched {
    /// Every file lies in the folder, checked.
    All,
    /// No source could be reached; the reason of the last one.
    OutOfReach(String),
}

/// Brings the files of a manifest that `folder` lacks; a file that arrives damaged is an error.
pub(super) fn fetch(manifest: &Manifest, folder: &Path) -> Result<Fetched> {
    for file in manifest.files.all() {
        if verify(&folder.join(&file.name), file).is_ok() {
            continue;
        }
        if let Fetched::OutOfReach(reason) = fetch_file(manifest, file, folder)? {
            return Ok(Fetched::OutOfReach(reason));
        }
    }
    Ok(Fetched::All)
}

fn fetch_file(manifest: &Manifest, file: &File, folder: &Path) -> Result<Fetched> {
    let mut reason = "the manifest names no source".to_owned();
    let mut damaged = None;
    let from_hub = manifest.hub.iter().map(|hub| from_hub(hub, file));
    let from_web = manifest.urls.iter().map(|url| from_web(&format!("{url}/{}", file.name), file));
    for attempt in from_hub.chain(from_web) {
        let bytes = match attempt {
            Ok(bytes) => bytes,
            Err(error) => {
                reason = format!("{error:#}");
                continue;
            }
        };
        match super::check(&bytes, file) {
            Ok(_) => {
                write_whole(&folder.join(&file.name), &bytes)?;
                return Ok(Fetched::All);
            }
            Err(error) => damaged = Some(error),
        }
    }
    match damaged {
        Some(error) => Err(error.context(format!("downloaded {}", file.name))),
        None => Ok(Fetched::OutOfReach(reason)),
    }
}

/// Plain HTTP, with a progress bar where the output is a terminal.
fn from_web(url: &str, file: &File) -> Result<Vec<u8>> {
    let mut response = agent().get(url).call().with_context(|| format!("fetching {url}"))?;
    let bar = ProgressBar::new(file.bytes);
    bar.set_draw_target(progress_target());
    bar.set_style(ProgressStyle::with_template(BAR)?);
    bar.set_message(file.name.clone());
    // A source that sends more than the file is damaged; one byte more proves it.
    let mut reader = response.body_mut().as_reader().take(file.bytes + 1);
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        let n = reader.read(&mut chunk).with_context(|| format!("reading {url}"))?;
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..n]);
        bar.inc(n as u64);
    }
    bar.finish_and_clear();
    Ok(bytes)
}

/// Brings the archive of a data set of folders unless it lies in `cache` already, whole.
///
/// What arrives is unpacked beside its final folder, counted, and renamed.
pub(super) fn fetch_archive(
    manifest: &imagenette::Manifest,
    archive: &imagenette::Archive,
    cache: &Path,
) -> Result<Fetched> {
    let folder = cache.join(&archive.name);
    if manifest.check_whole(&folder).is_ok() {
        return Ok(Fetched::All);
    }
    let mut reason = "the manifest names no source".to_owned();
    let mut damaged = None;
    for url in &archive.urls {
        let unpacked = match unpack_from_web(url, manifest, archive, cache) {
            Ok(unpacked) => unpacked,
            Err(Failure::OutOfReach(error)) => {
                reason = format!("{error:#}");
                continue;
            }
            Err(Failure::Damaged(error)) => {
                damaged = Some(error.context(format!("downloaded {url}")));
                continue;
            }
        };
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        std::fs::rename(unpacked.path(), &folder)
            .with_context(|| format!("writing {}", folder.display()))?;
        return Ok(Fetched::All);
    }
    damaged.map_or(Ok(Fetched::OutOfReach(reason)), Err)
}

/// Why an archive did not come.
enum Failure {
    /// The source did not answer, or its answer broke off.
    OutOfReach(anyhow::Error),
    /// All that was sent is no such archive, or could not be written.
    Damaged(anyhow::Error),
}

/// Unpacks an archive beside its final folder while it arrives, and counts its images.
fn unpack_from_web(
    url: &str,
    manifest: &imagenette::Manifest,
    archive: &imagenette::Archive,
    cache: &Path,
) -> Result<tempfile::TempDir, Failure> {
    let call = agent().get(url).call().with_context(|| format!("fetching {url}"));
    let mut response = call.map_err(Failure::OutOfReach)?;
    let n_bytes = response.body().content_length();
    let mut body = Body { inner: response.body_mut().as_reader(), is_broken: false };
    let mut receive = || -> Result<tempfile::TempDir> {
        let bar = n_bytes.map_or_else(ProgressBar::no_length, ProgressBar::new);
        bar.set_draw_target(progress_target());
        bar.set_style(ProgressStyle::with_template(BAR)?);
        bar.set_message(archive.name.clone());
        std::fs::create_dir_all(cache).with_context(|| cache.display().to_string())?;
        let unpacked = tempfile::tempdir_in(cache).with_context(|| cache.display().to_string())?;
        let bytes = flate2::read::GzDecoder::new(bar.wrap_read(&mut body));
        unpack(bytes, &archive.name, unpacked.path())?;
        bar.finish_and_clear();
        manifest.check_whole(unpacked.path())?;
        Ok(unpacked)
    };
    receive().map_err(|error| match body.is_broken {
        true => Failure::OutOfReach(error.context(format!("reading {url}"))),
        false => Failure::Damaged(error),
    })
}

/// What a source sends, and whether it broke off: to who unpacks it, that looks like damage.
struct Body<R> {
    inner: R,
    is_broken: bool,
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer);
        self.is_broken |=
            n.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::Interrupted);
        n
    }
}

/// Writes the members `name/<half>/<class>/<image>.JPEG` of a tar stream below a folder, and nothing else.
fn unpack(stream: impl Read, name: &str, folder: &Path) -> Result<()> {
    for entry in tar::Archive::new(stream).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Ok(inner) = path.strip_prefix(name) else { continue };
        let is_image = inner.extension().is_some_and(|e| e.eq_ignore_ascii_case("jpeg"))
            && inner.components().all(|part| matches!(part, std::path::Component::Normal(_)))
            && HALVES.iter().any(|half| inner.starts_with(half));
        if entry.header().entry_type().is_file() && is_image {
            let target = folder.join(inner);
            std::fs::create_dir_all(target.parent().unwrap_or(folder))?;
            std::io::copy(&mut entry, &mut std::fs::File::create(&target)?)?;
        }
    }
    Ok(())
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .timeout_recv_body(Some(FILE_TIMEOUT))
        .build();
    ureq::Agent::new_with_config(config)
}

/// A data set repository of the hub, through its own cache; `$HF_ENDPOINT` names another hub.
fn from_hub(hub: &Hub, file: &File) -> Result<Vec<u8>> {
    let builder = hf_hub::api::sync::ApiBuilder::from_env();
    let path = hub_file(hub, hf_hub::RepoType::Dataset, &file.name, builder)?;
    read(&path)
}

/// Where a file of the hub lies in the cache of its client, after it was fetched.
pub(super) fn hub_file(
    hub: &Hub,
    kind: hf_hub::RepoType,
    name: &str,
    builder: hf_hub::api::sync::ApiBuilder,
) -> Result<PathBuf> {
    let (repository, revision) = (hub.repository.clone(), hub.revision.clone());
    let repo = hf_hub::Repo::with_revision(repository, kind, revision);
    let describe = || format!("{name} of {}", hub.repository);
    let api = builder.build().with_context(describe)?;
    let path: PathBuf = api.repo(repo).get(name).with_context(describe)?;
    if !path.is_file() {
        bail!("{}: the hub's cache lacks the file", describe());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::published::sha256;
    use std::io::{BufRead, Write};
    use std::net::TcpListener;

    /// Serves `body` to every request on the loopback interface, until the test ends.
    fn serve(body: Vec<u8>, status: &'static str) -> String {
        let n = body.len();
        serve_part(body, n, status)
    }

    /// Promises `body` and closes the connection after its first `n_sent` bytes.
    fn serve_part(body: Vec<u8>, n_sent: usize, status: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
                let mut is_probe = false;
                while let Some(Ok(line)) = lines.next()
                    && !line.is_empty()
                {
                    is_probe |= line.to_ascii_lowercase().starts_with("range: bytes=0-0");
                }
                let n = body.len();
                let range = if is_probe {
                    format!("Content-Range: bytes 0-0/{n}\r\n")
                } else {
                    String::new()
                };
                let sent = if is_probe { &body[..1] } else { &body[..] };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{range}ETag: \"e\"\r\nx-repo-commit: c\r\n\
                     Connection: close\r\n\r\n",
                    sent.len()
                );
                let sent = &sent[..n_sent.min(sent.len())];
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
            }
        });
        format!("http://{address}")
    }

    fn manifest(body: &[u8], urls: &[String]) -> Manifest {
        let mut manifest = Manifest::of("mnist").unwrap();
        manifest.urls = urls.to_vec();
        for file in [
            &mut manifest.files.train_images,
            &mut manifest.files.train_labels,
            &mut manifest.files.test_images,
            &mut manifest.files.test_labels,
        ] {
            file.sha256 = sha256(body);
            file.bytes = body.len() as u64;
        }
        manifest
    }

    #[test]
    fn files_arrive_checked_from_the_first_source_that_has_them() {
        let body = b"the right bytes".to_vec();
        let urls = [serve(b"gone".to_vec(), "404 Not Found"), serve(body.clone(), "200 OK")];
        let folder = tempfile::tempdir().unwrap();
        let manifest = manifest(&body, &urls);
        assert!(matches!(fetch(&manifest, folder.path()).unwrap(), Fetched::All));
        let path = folder.path().join(&manifest.files.test_labels.name);
        assert_eq!(std::fs::read(path).unwrap(), body);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let manifest =
            manifest(b"the right bytes", &[serve(b"the wrong bytes".to_vec(), "200 OK")]);
        let Err(error) = fetch(&manifest, folder.path()) else { panic!("took a damaged file") };
        let message = format!("{error:#}");
        assert!(
            message.contains("wanted SHA-256") && message.contains("train-images"),
            "{message}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_closed_port_is_out_of_reach() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = manifest(b"x", &["http://127.0.0.1:1".to_owned()]);
        let Fetched::OutOfReach(reason) = fetch(&manifest, folder.path()).unwrap() else {
            panic!("fetched from a closed port")
        };
        assert!(reason.contains("127.0.0.1:1"), "{reason}");
    }

    #[test]
    fn a_hub_repository_is_read_through_its_client() {
        let body = b"bytes of the hub".to_vec();
        let endpoint = serve(body.clone(), "206 Partial Content");
        let cache = tempfile::tempdir().unwrap();
        let builder = || {
            hf_hub::api::sync::ApiBuilder::new()
                .with_endpoint(endpoint.clone())
                .with_cache_dir(cache.path().to_path_buf())
                .with_progress(false)
        };
        let hub = Hub { repository: "owner/name".into(), revision: "main".into() };
        for kind in [hf_hub::RepoType::Dataset, hf_hub::RepoType::Model] {
            let path = hub_file(&hub, kind, "file", builder()).unwrap();
            assert_eq!(std::fs::read(path).unwrap(), body);
        }
    }

    /// A gzipped archive `name/…` of the small data set of folders, with a file that is no image.
    fn archive(name: &str, classes: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        super::super::folders::tests::tree(folder.path(), classes);
        std::fs::write(folder.path().join("train/notes.csv"), b"1,2").unwrap();
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gzip);
        builder.append_dir_all(name, folder.path()).unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn an_archive_is_unpacked_counted_and_fetched_once() {
        let mut manifest = imagenette::tests::small();
        let mut source = manifest.archives.remove(0);
        let body = archive(&source.name, &["n1", "n2"]);
        source.urls = vec![serve(b"gone".to_vec(), "404 Not Found"), serve(body.clone(), "200 OK")];
        let cache = tempfile::tempdir().unwrap();
        let fetched = fetch_archive(&manifest, &source, cache.path()).unwrap();
        assert!(matches!(fetched, Fetched::All));
        let folder = cache.path().join(&source.name);
        assert!(
            folder.join("train/n2/a.JPEG").is_file() && !folder.join("train/notes.csv").exists()
        );
        // Whole, it is not fetched again; with an image lost, it would be.
        source.urls = vec!["http://127.0.0.1:1".to_owned()];
        assert!(matches!(fetch_archive(&manifest, &source, cache.path()).unwrap(), Fetched::All));
        std::fs::remove_file(folder.join("train/n2/a.JPEG")).unwrap();
        let Fetched::OutOfReach(reason) = fetch_archive(&manifest, &source, cache.path()).unwrap()
        else {
            panic!("took a part for the whole")
        };
        assert!(reason.contains("127.0.0.1:1"), "{reason}");
        source.urls = vec![serve(body, "200 OK")];
        assert!(matches!(fetch_archive(&manifest, &source, cache.path()).unwrap(), Fetched::All));
        assert!(folder.join("train/n2/a.JPEG").is_file());
    }

    #[test]
    fn a_source_that_breaks_off_is_out_of_reach_and_the_next_one_is_asked() {
        let mut manifest = imagenette::tests::small();
        let mut source = manifest.archives.remove(0);
        let body = archive(&source.name, &["n1", "n2"]);
        let broken = || serve_part(body.clone(), body.len() / 2, "200 OK");
        source.urls = vec![broken()];
        let cache = tempfile::tempdir().unwrap();
        let fetched = fetch_archive(&manifest, &source, cache.path()).unwrap();
        let Fetched::OutOfReach(reason) = fetched else { panic!("took half an archive") };
        assert!(reason.starts_with(&format!("reading {}", source.urls[0])), "{reason}");
        assert!(!reason.contains('\n'), "{reason}");
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
        source.urls =
            vec![broken(), serve(b"no archive".to_vec(), "200 OK"), serve(body, "200 OK")];
        let fetched = fetch_archive(&manifest, &source, cache.path()).unwrap();
        assert!(matches!(fetched, Fetched::All));
    }

    #[test]
    fn a_damaged_archive_is_an_error_and_leaves_nothing() {
        let mut manifest = imagenette::tests::small();
        let mut source = manifest.archives.remove(0);
        let whole = archive(&source.name, &["n1", "n2"]);
        for (body, told) in [
            (whole[..whole.len() / 2].to_vec(), "downloaded http://"),
            (b"no archive".to_vec(), "downloaded http://"),
            (archive(&source.name, &["n1"]), "wanted 2 classes, found 1"),
            (archive("another", &["n1", "n2"]), "wanted a folder, found none"),
        ] {
            source.urls = vec![serve(body, "200 OK")];
            let cache = tempfile::tempdir().unwrap();
            let Err(error) = fetch_archive(&manifest, &source, cache.path()) else {
                panic!("took a damaged archive")
            };
            assert!(format!("{error:#}").contains(told), "{error:#}");
            assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
        }
    }
}
