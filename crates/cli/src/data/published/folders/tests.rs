//! Tests of folders and tar files of images, and the small trees that other tests read.

use image::ExtendedColorType;

use super::super::decode::tests::{jpeg_of, png_of};
use super::*;

/// Color images train/c/*.JPEG (two) and val/c/*.JPEG (one) of classes c, each with its own red.
pub(crate) fn tree(folder: &Path, classes: &[&str]) {
    for (half, names) in [("train", &["b.JPEG", "a.JPEG"][..]), ("val", &["c.JPEG"])] {
        for (class, name) in classes.iter().enumerate() {
            std::fs::create_dir_all(folder.join(half).join(name)).unwrap();
            for image in names {
                let intensity = [20 * class as u8, image.as_bytes()[0], 90];
                let path = folder.join(half).join(name).join(image);
                std::fs::write(path, jpeg_of(&intensity, 8, 6)).unwrap();
            }
        }
    }
}

/// The members of a folder of the tree in a tar file beside it; the folder goes.
pub(crate) fn pack(folder: &Path, half: &str, class: &str) {
    let path = folder.join(half).join(class);
    let mut archive = tar::Builder::new(File::create(path.with_extension("tar")).unwrap());
    archive.append_dir_all(format!("{half}/{class}"), &path).unwrap();
    archive.finish().unwrap();
    std::fs::remove_dir_all(path).unwrap();
}

fn message(folder: &Path) -> String {
    let Err(error) = halves(folder) else { panic!("took a wrong folder") };
    format!("{error:#}").replace(&folder.display().to_string(), "DIR")
}

#[test]
fn a_folder_and_a_tar_file_hold_the_same_images_in_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    tree(path, &["n2", "n1"]);
    let read = || {
        let [train, val] = halves(path).unwrap();
        let sums: Vec<_> = train.classes.iter().map(|c| c.sha256().unwrap()).collect();
        let intensities = decode(&train.members(), [2, 2], GrayscaleImages::Refuse).unwrap();
        (sums, intensities.bytes, train.labels(), val.labels())
    };
    let unpacked = read();
    // Reds 20 and 0: the tree named n2 first, the order names n1; green tells a from b.
    let first = |image: usize, channel: usize| unpacked.1[12 * image + 4 * channel];
    assert!(first(0, 0) > 12 && first(2, 0) < 8, "{:?}", unpacked.1);
    assert!(first(0, 1) < first(1, 1) && (first(0, 1)).abs_diff(b'a') < 3);
    assert_eq!((&unpacked.2[..], &unpacked.3[..]), (&[0, 0, 1, 1][..], &[0, 1][..]));
    pack(path, "train", "n1");
    pack(path, "val", "n2");
    assert_eq!(read(), unpacked);
}

#[test]
fn every_defect_of_a_tree_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_eq!(message(path), "DIR/train: wanted a folder, found none");
    tree(path, &["n1", "n2"]);
    std::fs::create_dir(path.join("val/n0")).unwrap();
    assert_eq!(message(path), "DIR/val/n0: wanted JPEG or PNG pictures of a class, found none");
    std::fs::write(path.join("val/n0/x.jpg"), b"").unwrap();
    assert_eq!(
        message(path),
        "DIR: wanted the same classes in train and val, found 2 and 3, the first difference n1 and n0"
    );
    std::fs::remove_dir_all(path.join("val/n0")).unwrap();
    pack(path, "train", "n1");
    std::fs::create_dir(path.join("train/n1")).unwrap();
    std::fs::write(path.join("train/n1/x.jpg"), b"").unwrap();
    assert_eq!(message(path), "DIR/train/n1: wanted a folder or a tar file, found both");
    std::fs::remove_dir_all(path.join("train/n1")).unwrap();
    // What a header declares beyond the end of the file is not there to be read.
    let whole = std::fs::read(path.join("train/n1.tar")).unwrap();
    std::fs::write(path.join("train/n1.tar"), &whole[..1100]).unwrap();
    let told = message(path);
    assert!(told.starts_with("DIR/train/n1.tar: train/n1/"), "{told}");
    assert!(told.ends_with("found a file of 1100"), "{told}");
    std::fs::write(path.join("train/n1.tar"), &whole).unwrap();
    std::fs::rename(path.join("train/n1.tar"), path.join("train/n0.tar")).unwrap();
    let told = message(path);
    let wanted = "DIR/train/n0.tar: wanted members …/n0/*.JPEG, found train/n1/";
    assert!(told.starts_with(wanted), "{told}");
    std::fs::write(path.join("train/n0.tar"), b"no archive").unwrap();
    assert!(message(path).starts_with("DIR/train/n0.tar: "), "{}", message(path));
}

#[test]
fn a_broken_image_is_named_where_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    tree(path, &["n1", "n2"]);
    let whole = std::fs::read(path.join("train/n2/b.JPEG")).unwrap();
    std::fs::write(path.join("train/n2/b.JPEG"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(path.join("val/n2/c.JPEG"), b"").unwrap();
    let message = |half: usize| {
        let halves = halves(path).unwrap();
        let error = decode(&halves[half].members(), [2, 2], GrayscaleImages::Convert).unwrap_err();
        format!("{error:#}").replace(&path.display().to_string(), "DIR")
    };
    assert!(message(0).starts_with("DIR/train/n2/b.JPEG: wanted a whole JPEG"), "{}", message(0));
    pack(path, "train", "n2");
    let told = message(0);
    assert!(told.starts_with("DIR/train/n2.tar: train/n2/b.JPEG: wanted a whole"), "{told}");
    assert!(message(1).starts_with("DIR/val/n2/c.JPEG: wanted a JPEG or PNG"), "{}", message(1));
}

#[test]
fn a_users_folder_is_read_by_name_and_a_grayscale_image_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let read = |grayscale| images_of_folder(path, [2, 2], grayscale);
    let told = format!("{:#}", read(GrayscaleImages::Convert).unwrap_err());
    assert!(told.ends_with(": wanted JPEG or PNG pictures, found none"), "{told}");
    std::fs::write(path.join("b.jpeg"), jpeg_of(&[200], 4, 4)).unwrap();
    std::fs::write(path.join("a.JPG"), jpeg_of(&[9, 9, 200], 4, 4)).unwrap();
    std::fs::write(path.join("notes.txt"), b"not a picture").unwrap();
    let (names, intensities) = read(GrayscaleImages::Convert).unwrap();
    assert_eq!((names, intensities.n_grayscale), (vec!["a.JPG".into(), "b.jpeg".into()], 1));
    assert_eq!(intensities.bytes.len(), 24);
    let told = format!("{:#}", read(GrayscaleImages::Refuse).unwrap_err());
    assert!(told.ends_with("/b.jpeg: wanted a colour picture, found a grey one"), "{told}");
}

#[test]
fn the_257th_class_is_not_the_first() {
    let folder = tempfile::tempdir().unwrap();
    for class in 0..257u32 {
        let path = folder.path().join(format!("{class:03}"));
        std::fs::create_dir(&path).unwrap();
        let png = png_of(&[1, 2, 3], 1, 1, ExtendedColorType::Rgb8);
        std::fs::write(path.join("a.png"), png).unwrap();
    }
    let (names, labels, _) =
        images_by_class(folder.path(), [1, 1], GrayscaleImages::Refuse).unwrap();
    assert_eq!(names[256], "256");
    assert_eq!(labels, (0..257).collect::<Vec<u32>>());
}

#[test]
fn images_beside_classes_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    tree(path, &["n1", "n2"]);
    std::fs::write(path.join("train/z.jpg"), b"").unwrap();
    std::fs::write(path.join("train/loose.PNG"), b"").unwrap();
    let wanted = "DIR/train: wanted pictures, or a folder or a tar file for each class, found both, \
                  DIR/train/loose.PNG and DIR/train/n1";
    assert_eq!(message(path), wanted);
    let error = images_by_class(&path.join("train"), [2, 2], GrayscaleImages::Refuse).unwrap_err();
    assert_eq!(error.to_string().replace(&path.display().to_string(), "DIR"), wanted);
    // Something that is no image may lie there.
    std::fs::remove_file(path.join("train/z.jpg")).unwrap();
    std::fs::rename(path.join("train/loose.PNG"), path.join("train/notes.txt")).unwrap();
    assert!(halves(path).is_ok());
}
