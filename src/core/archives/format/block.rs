//! Blocks of a tar archive.

/// Size of a tar block in bytes.
pub(in crate::core::archives) const BLOCK: usize = 512;

/// Number of bytes up to the next block boundary.
pub(in crate::core::archives) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}
