//! The part of the package crc-fast that OpenDAL's S3 service compiles against: CRC-32C. Cargo.toml of warmswap puts it
//! in place of that package, because the tables and the C functions of all its algorithms are 0.75 MB of the addon.
//! OpenDAL computes a CRC only for `checksum_algorithm`, which warmswap never sets. So speed does not matter here.

/// Algorithms. OpenDAL does not compile if it uses another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrcAlgorithm {
    /// CRC-32C (Castagnoli).
    Crc32Iscsi,
}

/// A checksum of bytes that arrive in pieces.
#[derive(Debug, Clone)]
pub struct Digest(u32);

impl Digest {
    /// Begins a checksum.
    #[must_use]
    pub const fn new(algorithm: CrcAlgorithm) -> Self {
        match algorithm {
            CrcAlgorithm::Crc32Iscsi => Self(u32::MAX),
        }
    }

    /// Adds bytes.
    pub const fn update(&mut self, bytes: &[u8]) {
        // The polynomial 0x1EDC6F41 with its bits reversed.
        const POLYNOMIAL: u32 = 0x82F6_3B78;
        let mut at = 0;
        while at < bytes.len() {
            self.0 ^= bytes[at] as u32;
            let mut bit = 0;
            while bit < 8 {
                self.0 = (self.0 >> 1) ^ (POLYNOMIAL & (self.0 & 1).wrapping_neg());
                bit += 1;
            }
            at += 1;
        }
    }

    /// The checksum of all bytes.
    #[must_use]
    pub const fn finalize(&self) -> u64 {
        !self.0 as u64
    }
}

// The check value of the catalogue of CRCs, here in two pieces.
const _: () = {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(b"1234");
    digest.update(b"56789");
    assert!(digest.finalize() == 0xE306_9283);
};
