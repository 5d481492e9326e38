//! Files that stay open as long as one of the processes runs that have inherited them.
//!
//! A lock of LockFileEx ends with the process that has acquired it, so children cannot keep it. An open file that is not
//! shared cannot be opened again until the last copy of its handle is closed, also the copies that children have.

use std::ffi::{CStr, c_void};
use std::io;
use std::mem;
use std::os::windows::io::{AsHandle as _, IntoRawHandle as _, OwnedHandle};
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_CREATE, FILE_DELETE_ON_CLOSE, FILE_NON_DIRECTORY_FILE, FILE_OPEN_REPARSE_POINT,
};
use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_DELETE_PENDING, ERROR_SHARING_VIOLATION, FARPROC, HANDLE,
};
use windows_sys::Win32::Storage::FileSystem::{DELETE, FILE_ATTRIBUTE_NORMAL, FILE_GENERIC_READ};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};

use super::errno;
use super::nt::{self, Request};

/// Whether a lock needs such a file for children.
pub(crate) const IS_NEEDED: bool = true;

/// `uv_fs_t` has 456 bytes on 64-bit Windows.
const REQUEST_WORDS: usize = 256;

/// An open file that is not shared. It is removed when the last copy of its handle is closed.
#[derive(Debug)]
pub struct ChildFile {
    handle: OwnedHandle,
    /// The descriptor of a copy of the handle. Node's C runtime has it, so only Node can close it.
    descriptor: OnceLock<i32>,
}

impl ChildFile {
    /// A descriptor as the `stdio` of Node's `spawn()` takes it. Only the children get it that are started with it.
    pub(crate) fn descriptor(&self) -> io::Result<i32> {
        if let Some(descriptor) = self.descriptor.get() {
            return Ok(*descriptor);
        }
        // Without it the descriptor could not be closed.
        Libuv::find()?;
        let address = function(c"uv_open_osfhandle")?;
        // SAFETY: `int uv_open_osfhandle(uv_os_fd_t)`, where the type of the argument is HANDLE.
        let open: unsafe extern "C" fn(HANDLE) -> i32 = unsafe { mem::transmute(address) };
        let copy = self.handle.try_clone()?.into_raw_handle();
        // SAFETY: the handle is open, and the descriptor owns it from here on.
        let descriptor = unsafe { open(copy) };
        if descriptor < 0 {
            // SAFETY: no descriptor was made, so that nothing else has the handle.
            unsafe { CloseHandle(copy) };
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(*self.descriptor.get_or_init(|| descriptor))
    }
}

impl Drop for ChildFile {
    fn drop(&mut self) {
        if let (Some(descriptor), Ok(libuv)) = (self.descriptor.get(), Libuv::find()) {
            libuv.close(*descriptor);
        }
    }
}

/// What libuv exports from the program that this library is loaded into.
struct Libuv {
    close: unsafe extern "C" fn(*mut c_void, *mut u64, i32, *const c_void) -> i32,
    clean_up: unsafe extern "C" fn(*mut u64),
}

impl Libuv {
    fn find() -> io::Result<Self> {
        let (close, clean_up) = (function(c"uv_fs_close")?, function(c"uv_fs_req_cleanup")?);
        // SAFETY: `int uv_fs_close(uv_loop_t*, uv_fs_t*, uv_file, uv_fs_cb)` and `void uv_fs_req_cleanup(uv_fs_t*)`.
        Ok(unsafe {
            Self {
                close: mem::transmute::<
                    Function,
                    unsafe extern "C" fn(*mut c_void, *mut u64, i32, *const c_void) -> i32,
                >(close),
                clean_up: mem::transmute::<Function, unsafe extern "C" fn(*mut u64)>(clean_up),
            }
        })
    }

    fn close(&self, descriptor: i32) {
        let mut request = [0_u64; REQUEST_WORDS];
        // SAFETY: the request is larger than a `uv_fs_t` and aligned like one. Without a callback the call is synchronous
        // and uses no loop.
        unsafe {
            (self.close)(ptr::null_mut(), request.as_mut_ptr(), descriptor, ptr::null());
            (self.clean_up)(request.as_mut_ptr());
        }
    }
}

type Function = unsafe extern "system" fn() -> isize;

/// A function that the program exports; `Unsupported` in a program without it.
fn function(name: &CStr) -> io::Result<Function> {
    // SAFETY: the name ends with a NUL, and the program itself is never unloaded.
    let found: FARPROC = unsafe { GetProcAddress(GetModuleHandleW(ptr::null()), name.as_ptr().cast()) };
    found.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Creates such a file.
pub(crate) fn create(path: &Path) -> io::Result<ChildFile> {
    let request = Request {
        access: FILE_GENERIC_READ | DELETE,
        disposition: FILE_CREATE,
        options: FILE_NON_DIRECTORY_FILE | FILE_DELETE_ON_CLOSE,
        attributes: FILE_ATTRIBUTE_NORMAL,
    };
    Ok(ChildFile {
        handle: nt::open_unshared(path, request)?,
        descriptor: OnceLock::new(),
    })
}

/// Whether a process has this file open. Removes one that a machine without power has left.
pub(crate) fn is_open(path: &Path) -> io::Result<bool> {
    let request = Request::existing(FILE_GENERIC_READ | DELETE, FILE_OPEN_REPARSE_POINT);
    match nt::open_without_retry(path, request) {
        Ok(left) => {
            if !nt::delete(left.as_handle())? {
                nt::delete_at_last_close(left.as_handle())?;
            }
            Ok(false)
        }
        Err(error) if errno::is_one_of(&error, &[ERROR_SHARING_VIOLATION]) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if errno::is_one_of(&error, &[ERROR_DELETE_PENDING]) => Ok(false),
        Err(error) => Err(error),
    }
}
