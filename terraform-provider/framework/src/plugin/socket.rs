//! The listening socket, in a directory that only this user can enter.

use std::fs::DirBuilder;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A listening socket; its directory goes when this value goes.
pub(crate) struct Socket {
    dir: PathBuf,
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Makes a private directory in `parent` (or in the directory for temporary files) and listens in it.
    pub(crate) fn bind(parent: Option<&Path>) -> Result<Self, String> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        // The hasher's keys are random: two providers never meet. Creation fails if somebody made the name before us.
        let random = RandomState::new().hash_one(std::process::id());
        let dir = parent.join(format!("tf-provider-{random:016x}"));
        let failed = |e: std::io::Error| format!("The provider cannot listen in {}: {e}", dir.display());
        DirBuilder::new().mode(0o700).create(&dir).map_err(failed)?;
        let path = dir.join("socket");
        let listener = UnixListener::bind(&path).and_then(|l| l.set_nonblocking(true).map(|()| l));
        let listener = listener.map_err(failed)?;
        Ok(Self { dir, path, listener })
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, for the runtime.
    pub(crate) fn listener(&self) -> Result<tokio::net::UnixListener, String> {
        let listener = self.listener.try_clone().and_then(tokio::net::UnixListener::from_std);
        listener.map_err(|e| format!("The provider cannot listen on {}: {e}", self.path.display()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Nothing depends on it: what stays behind is an empty directory among temporary files.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
