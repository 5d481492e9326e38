//! The blocks of a tar archive.

/// Bytes of a tar block.
pub(in crate::core::archives) const BLOCK: usize = 512;

/// Bytes up to the next block boundary.
pub(in crate::core::archives) fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}
