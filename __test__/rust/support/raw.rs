//! Archives written block by block, with content that no real tool writes.

/// A tar archive under construction.
#[derive(Default, Clone)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Raw {
    /// Appends an entry whose header can be changed before its checksum is computed.
    pub(crate) fn with(
        mut self,
        flag: u8,
        name: &[u8],
        link: &[u8],
        data: &[u8],
        change: impl FnOnce(&mut [u8; 512]),
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(data.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name);
        old.linkname[..link.len()].copy_from_slice(link);
        let mut block = *header.as_bytes();
        change(&mut block);
        let mut header = tar::Header::from_byte_slice(&block).clone();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.with(b'0', name.as_bytes(), b"", data, |_| {})
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.with(b'5', name.as_bytes(), b"", b"", |_| {})
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.with(b'2', name.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.with(b'1', name.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    pub(crate) fn pax(self, records: &[u8]) -> Self {
        self.with(b'x', b"PaxHeader", b"", records, |_| {})
    }

    /// Appends the end marker.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// One pax record with the correct length.
pub(crate) fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let digits = (1..9)
        .find(|digits| (rest + digits).to_string().len() == *digits)
        .expect("a short record");
    format!("{} {key}={value}\n", rest + digits).into_bytes()
}
