//! Keeps every other process from the file.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::StoreError;

/// Read and write for the owner, nothing for others. SQLite gives its `-wal` and `-shm` files the mode of the file.
const OWNER_ONLY: u32 = 0o600;

/// A file on this machine, by whatever name it is opened.
type FileId = (u64, u64);

/// The files this process has locked.
///
/// POSIX takes away all of a process's locks on a file when the process closes any handle of it. SQLite relies on such
/// locks, so a file that is open here must not be opened, and closed, a second time.
static LOCKED_HERE: Mutex<BTreeSet<FileId>> = Mutex::new(BTreeSet::new());

/// Keeps every other process from the file. The operating system lets go of it when the process ends, however it ends.
pub(super) struct FileLock(Mutex<Option<(File, FileId)>>);

impl FileLock {
    /// Locks the file itself, making it if it is missing: a symbolic or hard link leads to the same lock, and nobody
    /// who may not open the file can hold it.
    pub(super) fn take(file: &Path, address: &str) -> Result<Self, StoreError> {
        let failed = |what: &str, error: std::io::Error| {
            let source = Some(Box::new(error).into());
            StoreError::Unavailable { address: address.to_owned(), what: what.to_owned(), source }
        };
        let held = || StoreError::Held { address: address.to_owned() };
        let mut locked_here = lock_registry();
        if file.metadata().is_ok_and(|there| locked_here.contains(&id(&there))) {
            return Err(held());
        }
        let open = |path: &Path| {
            let opened = File::options().create(true).truncate(false).write(true).mode(OWNER_ONLY).open(path);
            opened.map_err(|error| failed(&format!("`{}` cannot be opened", path.display()), error))
        };
        let mut handle = open(file)?;
        let file = file.canonicalize().map_err(|error| failed("its path cannot be read", error))?;
        let owned = handle.metadata().map_err(|error| failed("its mode cannot be read", error))?;
        if !cfg!(target_os = "linux") {
            // Elsewhere this kind of lock and the kind that SQLite takes exclude each other on one file.
            handle = open(&beside(&file, ".lock"))?;
        }
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held()),
            Err(TryLockError::Error(error)) => return Err(failed("it cannot be locked", error)),
        }
        // By another name SQLite does not find the `-wal` file, and with it what was acknowledged last.
        if owned.nlink() > 1 {
            let what = format!(
                "`{}` has {} hard links and must have one: `find -samefile` shows the others; delete them, or copy them",
                file.display(),
                owned.nlink()
            );
            return Err(StoreError::Refused { address: address.to_owned(), what, source: None });
        }
        for part in [file.clone(), beside(&file, "-wal"), beside(&file, "-shm")] {
            keep_private(&part);
        }
        locked_here.insert(id(&owned));
        Ok(Self(Mutex::new(Some((handle, id(&owned))))))
    }

    /// Lets another process have the file. Every connection to it is closed by now.
    pub(super) fn release(&self) {
        if let Some((handle, id)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // In this order: whoever takes the lock next in this process opens the file after it was closed here.
            let mut locked_here = lock_registry();
            // A child that was just forked has the handle, too, until it runs its own program: closing ours alone would
            // not unlock.
            let _ = handle.unlock();
            drop(handle);
            locked_here.remove(&id);
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        self.release();
    }
}

fn lock_registry() -> MutexGuard<'static, BTreeSet<FileId>> {
    LOCKED_HERE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// Takes from others the right to read a file that an earlier version or another program made for everyone.
fn keep_private(file: &Path) {
    let Ok(metadata) = file.metadata() else { return };
    if metadata.mode() & 0o777 & !OWNER_ONLY == 0 {
        return;
    }
    match std::fs::set_permissions(file, Permissions::from_mode(OWNER_ONLY)) {
        Ok(()) => tracing::warn!("`{}` was open to other users; its mode is 0600 now", file.display()),
        Err(error) => tracing::warn!(%error, "`{}` is open to other users: `chmod 600` it", file.display()),
    }
}
