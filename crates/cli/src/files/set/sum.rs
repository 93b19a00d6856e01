//! Check sums: SHA-256 in lower-case hexadecimal.

use sha2::Digest;

/// Characters of a sum.
pub(crate) const SUM_LENGTH: usize = 64;

/// SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    sha256_of(&[bytes])
}

/// [`sha256`] of parts one after another.
pub(crate) fn sha256_of(parts: &[&[u8]]) -> String {
    let mut sum = sha2::Sha256::new();
    parts.iter().for_each(|part| sum.update(part));
    hexadecimal(&sum.finalize())
}

/// Two digits a byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc() {
        // FIPS 180-2, appendix B.1.
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), wanted);
        assert_eq!(sha256_of(&[b"a", b"bc"]), wanted);
        assert_eq!(wanted.len(), SUM_LENGTH);
    }
}
