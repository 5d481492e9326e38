//! Owners and access rights (security descriptors).

use std::os::windows::io::{AsRawHandle as _, BorrowedHandle};

use windows_sys::Win32::Foundation::{GENERIC_ALL, GENERIC_WRITE};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetKernelObjectSecurity, INHERIT_ONLY_ACE, OWNER_SECURITY_INFORMATION,
    SE_DACL_PRESENT,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_DELETE_CHILD, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::SystemServices::ACCESS_ALLOWED_ACE_TYPE;

/// Uid of the accounts that can change every file: SYSTEM, the administrators and TrustedInstaller.
const ROOT: u32 = 0;
/// Uid of an owner that this user may not read.
const UNKNOWN: u32 = u32::MAX;

/// Rights to create, replace or remove entries of a directory, or to acquire these rights.
const WRITE: u32 = FILE_ADD_FILE
    | FILE_ADD_SUBDIRECTORY
    | FILE_DELETE_CHILD
    | WRITE_DAC
    | WRITE_OWNER
    | GENERIC_WRITE
    | GENERIC_ALL;

/// Owner of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// A number that stands for the SID. 0 for accounts that can change every file.
    pub(super) uid: u32,
    /// Whether the access rights of a directory allow every user to change its entries.
    pub(super) others_may_write: bool,
}

const OF_NOBODY: Owner = Owner {
    uid: UNKNOWN,
    others_may_write: false,
};

/// Reads the owner of an open entry, and for a directory who may change it. The owner is unknown on filesystems without
/// access rights, and if the handle may not read them.
pub(super) fn of(handle: BorrowedHandle<'_>, is_directory: bool) -> Owner {
    let mut wanted = OWNER_SECURITY_INFORMATION;
    if is_directory {
        wanted |= DACL_SECURITY_INFORMATION;
    }
    let mut buffer = vec![0_u64; 64];
    loop {
        let size = u32::try_from(buffer.len() * 8).unwrap_or(u32::MAX);
        let mut needed = 0;
        // SAFETY: the handle is open, and the system writes at most `size` bytes.
        let is_read = unsafe {
            GetKernelObjectSecurity(
                handle.as_raw_handle(),
                wanted,
                buffer.as_mut_ptr().cast(),
                size,
                &raw mut needed,
            )
        };
        if is_read == 0 && needed > size {
            buffer.resize((needed as usize).div_ceil(8), 0);
            continue;
        }
        if is_read == 0 {
            return OF_NOBODY;
        }
        let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
        return parse(&bytes, is_directory).unwrap_or(OF_NOBODY);
    }
}

/// Reads a descriptor whose offsets count from its start.
fn parse(descriptor: &[u8], is_directory: bool) -> Option<Owner> {
    let sid = sid(descriptor, number(descriptor, 4)? as usize)?;
    Some(Owner {
        uid: uid(sid),
        others_may_write: is_directory && others_may_write(descriptor)?,
    })
}

fn others_may_write(descriptor: &[u8]) -> Option<bool> {
    let control = short(descriptor, 2)?;
    let list = number(descriptor, 16)? as usize;
    if control & SE_DACL_PRESENT == 0 || list == 0 {
        // Without a list everybody may do everything.
        return Some(true);
    }
    let count = short(descriptor, list + 4)?;
    let mut at = list + 8;
    for _ in 0..count {
        let [kind, flags] = *descriptor.get(at..at + 2)?.first_chunk()?;
        // Entries that deny are ignored: only the owner of the directory loses by that.
        if u32::from(kind) == ACCESS_ALLOWED_ACE_TYPE
            && u32::from(flags) & INHERIT_ONLY_ACE == 0
            && number(descriptor, at + 4)? & WRITE != 0
            && is_everybody(sid(descriptor, at + 8)?)
        {
            return Some(true);
        }
        at += usize::from(short(descriptor, at + 2)?);
    }
    Some(false)
}

/// The bytes of a SID.
fn sid(descriptor: &[u8], at: usize) -> Option<&[u8]> {
    let parts = usize::from(*descriptor.get(at + 1)?);
    (at != 0).then(|| descriptor.get(at..at + 8 + 4 * parts))?
}

/// Authority and numbers of a SID, such as 5, 32 and 545 for S-1-5-32-545.
fn parts(sid: &[u8]) -> (u8, Vec<u32>) {
    let numbers = sid.get(8..).unwrap_or_default().chunks_exact(4);
    let numbers = numbers.map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    (sid.get(7).copied().unwrap_or(0), numbers.collect())
}

/// Whether ordinary users have this SID: Everyone, Local, Network, Interactive, Anonymous, Authenticated Users, Users,
/// Guests. Users of a group such as Domain Users are trusted, like the group on Unix.
fn is_everybody(sid: &[u8]) -> bool {
    let (authority, numbers) = parts(sid);
    match numbers.as_slice() {
        [0] => matches!(authority, 1 | 2),
        [2 | 4 | 7 | 11] | [32, 545 | 546] => authority == 5,
        _ => false,
    }
}

fn uid(sid: &[u8]) -> u32 {
    /// First number of the SIDs of services, and second number of TrustedInstaller.
    const TRUSTED_INSTALLER: [u32; 2] = [80, 956_008_885];
    let (authority, numbers) = parts(sid);
    let is_root = match numbers.as_slice() {
        [18] | [32, 544] => true,
        [first, second, ..] => [*first, *second] == TRUSTED_INSTALLER,
        _ => false,
    };
    if authority == 5 && is_root {
        return ROOT;
    }
    // FNV-1a. All of the SID counts, because users of two machines can have the same last number.
    let hash = sid.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    hash.clamp(ROOT + 1, UNKNOWN - 1)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..at + 2)?.first_chunk()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..at + 4)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sid_of(numbers: &[u32]) -> Vec<u8> {
        let authority = if numbers == [0] { 1 } else { 5 };
        let mut sid = vec![
            1,
            u8::try_from(numbers.len()).expect("few"),
            0,
            0,
            0,
            0,
            0,
            authority,
        ];
        sid.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        sid
    }

    /// A descriptor with this owner and these entries: type, flags, rights, SID.
    fn descriptor(owner: &[u32], entries: &[(u8, u8, u32, &[u32])]) -> Vec<u8> {
        let mut list = Vec::new();
        for (kind, flags, rights, numbers) in entries {
            let sid = sid_of(numbers);
            let size = u16::try_from(sid.len() + 8).expect("short");
            list.extend([*kind, *flags]);
            list.extend(size.to_le_bytes());
            list.extend(rights.to_le_bytes());
            list.extend(sid);
        }
        let owner = sid_of(owner);
        let mut all = vec![1, 0, 4, 0x80];
        for offset in [20, 0, 0, 20 + owner.len()] {
            all.extend(u32::try_from(offset).expect("short").to_le_bytes());
        }
        all.extend(owner);
        all.extend([2, 0]);
        all.extend(u16::try_from(list.len() + 8).expect("short").to_le_bytes());
        all.extend(u16::try_from(entries.len()).expect("few").to_le_bytes());
        all.extend([0, 0]);
        all.extend(list);
        all
    }

    const USER: &[u32] = &[21, 1, 2, 3, 1001];
    const USERS: &[u32] = &[32, 545];
    const READ: u32 = 0x0012_00a9;
    const ALL: u32 = 0x001f_01ff;

    #[test]
    fn rights_of_every_user_make_a_directory_shared() {
        let shared = |entries| {
            parse(&descriptor(USER, entries), true)
                .expect("valid")
                .others_may_write
        };
        assert!(!shared(&[
            (0, 0, ALL, USER),
            (0, 0, READ, USERS),
            (0, 0, ALL, &[32, 544])
        ]));
        // C:\ProgramData, and a directory that inherits the rights of C:\.
        assert!(shared(&[(0, 0, READ, USERS), (0, 2, FILE_ADD_FILE, USERS)]));
        assert!(shared(&[(0, 3, 0x0013_01bf, &[11])]));
        assert!(shared(&[(0, 0, GENERIC_ALL, &[0])]));
        // Inherited by files only; denied.
        assert!(!shared(&[(0, 11, ALL, USERS)]));
        assert!(!shared(&[(1, 0, ALL, USERS)]));
        let without = {
            let mut bytes = descriptor(USER, &[]);
            bytes[2] = 0;
            bytes
        };
        assert!(parse(&without, true).expect("valid").others_may_write);
        assert!(!parse(&without, false).expect("valid").others_may_write);
    }

    #[test]
    fn owners_are_distinguished() {
        let owner = |numbers| parse(&descriptor(numbers, &[]), false).expect("valid").uid;
        for numbers in [[18].as_slice(), &[32, 544], &[80, 956_008_885, 1, 2, 3, 4]] {
            assert_eq!(owner(numbers), ROOT, "{numbers:?}");
        }
        assert_ne!(owner(USER), ROOT);
        assert_ne!(owner(USER), owner(&[21, 1, 2, 4, 1001]));
        assert_eq!(owner(USER), owner(USER));
    }

    #[test]
    fn a_truncated_descriptor_is_refused() {
        let whole = descriptor(USER, &[(0, 0, ALL, USERS)]);
        assert!(parse(&whole, true).is_some());
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length], true), None, "{length} bytes");
        }
    }
}
