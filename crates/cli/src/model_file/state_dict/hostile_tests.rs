//! Hostile files: sizes beyond any memory, endless nesting, archives that unpack without bound.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// What opening says, where it must not succeed.
fn refused(bytes: &[u8]) -> String {
    match open(bytes, &Expected::default()) {
        Ok(_) => panic!("was opened"),
        Err(error) => format!("{error:#}"),
    }
}

/// An archive of torch.save with a pickle and 24 bytes of numbers.
fn archive(pickle: &[u8]) -> Vec<u8> {
    archive_of(pickle, 24)
}

fn archive_of(pickle: &[u8], n_bytes: usize) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("net/data.pkl", pickle), ("net/data/0", &vec![0; n_bytes])] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A pickle of `{"0.weight": tensor}` with a storage of so many numbers, an offset, a shape and strides.
fn weight(n: i64, offset: i64, shape: [i64; 2], strides: [i64; 2]) -> Vec<u8> {
    let long = |n: i64| [&[0x8a, 8][..], &n.to_le_bytes()].concat();
    let text = |text: &str| [&[0x8c, text.len() as u8][..], text.as_bytes()].concat();
    let pair = |[a, b]: [i64; 2]| [long(a), long(b), vec![0x86]].concat();
    [
        b"\x80\x02}".to_vec(),
        text("0.weight"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        long(n),
        b"tQ".to_vec(),
        long(offset),
        pair(shape),
        pair(strides),
        b"\x89}tRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn sizes_are_checked_before_anything_is_built() {
    let fine = archive(&weight(6, 0, [2, 3], [3, 1]));
    assert!(open(&fine, &Expected::default()).is_ok());
    let huge = 1 << 60;
    for (n, offset, shape, strides, part) in [
        (huge, 0, [2, 3], [3, 1], "its storage should hold"),
        (7, 0, [2, 3], [3, 1], "its storage should hold"),
        (6, 1, [2, 3], [3, 1], "reaches beyond"),
        (6, huge, [2, 3], [3, 1], "reaches beyond"),
        (6, 0, [huge, 3], [3, 1], "reaches beyond"),
        (6, 0, [huge, huge], [0, 0], "reaches beyond"),
        (6, 0, [1 << 30, 1 << 20], [0, 0], "64 times"),
        (6, 0, [2, 3], [huge, huge], "reaches beyond"),
        (6, 0, [2, -3], [3, 1], "a size of -3"),
        (6, -1, [2, 3], [3, 1], "a size of -1"),
        (6, 0, [2, 3], [-3, 1], "a size of -3"),
    ] {
        let said = refused(&archive(&weight(n, offset, shape, strides)));
        assert!(said.contains(part) && said.len() < 300, "{shape:?}: {said}");
    }
}

#[test]
fn endless_nesting_is_refused() {
    // Lists in lists, a dictionary in itself, and one that stands twice in the next, forty times.
    let deep = [&b"\x80\x02"[..], &b"]".repeat(100_000), &b"a".repeat(99_999), b"."].concat();
    let itself = b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.".to_vec();
    let mut twice = b"\x80\x02N".to_vec();
    for i in 0..40u8 {
        twice.extend([b'q', i, b'h', i, 0x86]);
    }
    twice.push(b'.');
    let marks = [&b"\x80\x02"[..], &b"(".repeat(100_000), b"."].concat();
    for (pickle, part) in [
        (deep, "inside one another"),
        (itself, "inside one another"),
        (twice, "too many places"),
        (marks, "not a whole pickle"),
    ] {
        let said = refused(&archive(&pickle));
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn shared_storages_do_not_multiply_without_bound() {
    // One storage of 1 MB under a hundred names: more numbers than any file of that size has.
    let one = weight(1 << 18, 0, [512, 512], [512, 1]);
    // Behind the name and before the operation that puts the tensor into the dictionary.
    let tensor = &one[3 + 2 + "0.weight".len()..one.len() - 2];
    let mut pickle = one[..3].to_vec();
    for i in 0..100u8 {
        let name = format!("{i}.weight");
        pickle.extend([&[0x8c, name.len() as u8], name.as_bytes(), tensor, b"s"].concat());
    }
    pickle.push(b'.');
    let said = refused(&archive_of(&pickle, 1 << 20));
    assert!(said.contains("64 times"), "{said}");
}

#[test]
fn bombs_are_refused() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (5000, 5000), }";
    let array = [
        b"\x93NUMPY\x01\x00",
        &(header.len() as u16).to_le_bytes()[..],
        header.as_bytes(),
        &vec![0; 100_000_000],
    ]
    .concat();
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&array).unwrap();
    let packed = packed.finish().unwrap();
    // Written as stored, then said to be deflated: in the header of the entry, and in that of the archive.
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("0.weight.npy", stored).unwrap();
    zip.write_all(&packed).unwrap();
    let mut bytes = zip.finish().unwrap().into_inner();
    let entry = bytes.windows(4).rposition(|b| b == b"PK\x01\x02").unwrap();
    for at in [8, entry + 10] {
        bytes[at] = 8;
    }
    for at in [22, entry + 24] {
        bytes[at..at + 4].copy_from_slice(&(array.len() as u32).to_le_bytes());
    }
    assert!(bytes.len() < 200_000);
    let said = refused(&bytes);
    assert!(said.contains("64 times"), "{said}");
}
