//! One method for each request.

use super::packet::{Attrs, Block, Body, Broken, Fields, Packet, Request, kind};
use super::{Sftp, SftpError, Status};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: Bytes,
    pub attrs: Attrs,
    /// The server's line for people, as of `ls -l`.
    pub long: Bytes,
}

/// How much room there is (`statvfs@openssh.com`), in bytes and inodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub free: u64,
    /// For users other than root.
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub read_only: bool,
}

/// An open file or directory on the node. Dropping it closes it without waiting.
pub struct RemoteFile {
    sftp: Sftp,
    bytes: Bytes,
    open: AtomicBool,
}

/// How to open a file.
pub mod flags {
    pub const READ: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const CREATE: u32 = 8;
    pub const TRUNCATE: u32 = 16;
    pub const EXCLUSIVE: u32 = 32;
}

impl Sftp {
    /// Opens a file; `attrs` are for one that is created.
    ///
    /// # Errors
    /// As every method here: refused, or the conversation is over.
    pub async fn open_file(
        &self,
        path: &[u8],
        flags: u32,
        attrs: &Attrs,
    ) -> Result<RemoteFile, SftpError> {
        let request = Request::new(kind::OPEN, path.len()).string(path).u32(flags).attrs(attrs);
        self.handle(request).await
    }

    /// Opens a directory for [`RemoteFile::list`].
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn open_dir(&self, path: &[u8]) -> Result<RemoteFile, SftpError> {
        self.handle(Request::new(kind::OPENDIR, path.len()).string(path)).await
    }

    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn stat(&self, path: &[u8]) -> Result<Attrs, SftpError> {
        self.attrs(Request::new(kind::STAT, path.len()).string(path)).await
    }

    /// The link itself, not what it points to.
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn lstat(&self, path: &[u8]) -> Result<Attrs, SftpError> {
        self.attrs(Request::new(kind::LSTAT, path.len()).string(path)).await
    }

    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn set_stat(&self, path: &[u8], attrs: &Attrs) -> Result<(), SftpError> {
        self.done(Request::new(kind::SETSTAT, path.len()).string(path).attrs(attrs)).await
    }

    /// Changes a link itself.
    ///
    /// # Errors
    /// As [`Sftp::open_file`]; unsupported.
    pub async fn set_lstat(&self, path: &[u8], attrs: &Attrs) -> Result<(), SftpError> {
        self.needs("lsetstat@openssh.com", "way to change a symbolic link")?;
        self.done(Request::extended("lsetstat@openssh.com").string(path).attrs(attrs)).await
    }

    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn make_dir(&self, path: &[u8], attrs: &Attrs) -> Result<(), SftpError> {
        self.done(Request::new(kind::MKDIR, path.len()).string(path).attrs(attrs)).await
    }

    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn remove_dir(&self, path: &[u8]) -> Result<(), SftpError> {
        self.done(Request::new(kind::RMDIR, path.len()).string(path)).await
    }

    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn remove(&self, path: &[u8]) -> Result<(), SftpError> {
        self.done(Request::new(kind::REMOVE, path.len()).string(path)).await
    }

    /// Renames; an existing target is replaced at once where the server can do that, and is in
    /// the way where it cannot.
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), SftpError> {
        let request = match self.has("posix-rename@openssh.com") {
            true => Request::extended("posix-rename@openssh.com"),
            false => return self.rename_new(from, to).await,
        };
        self.done(request.string(from).string(to)).await
    }

    /// Renames only if nothing is there already.
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn rename_new(&self, from: &[u8], to: &[u8]) -> Result<(), SftpError> {
        self.done(Request::new(kind::RENAME, from.len() + to.len()).string(from).string(to)).await
    }

    /// The absolute path without links, `.` and `..`.
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn real_path(&self, path: &[u8]) -> Result<Bytes, SftpError> {
        self.name(Request::new(kind::REALPATH, path.len()).string(path)).await
    }

    /// A path with `~` or `~user` in front, made absolute.
    ///
    /// # Errors
    /// As [`Sftp::open_file`]; unsupported.
    pub async fn expand_path(&self, path: &[u8]) -> Result<Bytes, SftpError> {
        self.needs("expand-path@openssh.com", "way to find a user's home")?;
        self.name(Request::extended("expand-path@openssh.com").string(path)).await
    }

    /// What a link points to.
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn read_link(&self, path: &[u8]) -> Result<Bytes, SftpError> {
        self.name(Request::new(kind::READLINK, path.len()).string(path)).await
    }

    /// Makes `link` point to `target`.
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn symlink(&self, target: &[u8], link: &[u8]) -> Result<(), SftpError> {
        // OpenSSH has the two the other way round than the draft, and everybody follows it.
        let request = Request::new(kind::SYMLINK, target.len() + link.len());
        self.done(request.string(target).string(link)).await
    }

    /// # Errors
    /// As [`Sftp::open_file`]; unsupported.
    pub async fn hard_link(&self, from: &[u8], to: &[u8]) -> Result<(), SftpError> {
        self.needs("hardlink@openssh.com", "hard links")?;
        self.done(Request::extended("hardlink@openssh.com").string(from).string(to)).await
    }

    /// How much room there is where this path lies.
    ///
    /// # Errors
    /// As [`Sftp::open_file`]; unsupported.
    pub async fn space(&self, path: &[u8]) -> Result<Space, SftpError> {
        self.needs("statvfs@openssh.com", "way to tell how much room there is")?;
        let reply = self.ask(Request::extended("statvfs@openssh.com").string(path)).await?;
        let mut fields = self.expect(reply, kind::EXTENDED_REPLY)?;
        self.check((|| {
            let _block = fields.u64()?;
            let unit = fields.u64()?;
            let mut blocks = || fields.u64().map(|n| n.saturating_mul(unit));
            let (total, free, available) = (blocks()?, blocks()?, blocks()?);
            let (inodes, inodes_free) = (fields.u64()?, fields.u64()?);
            let (_, _, flags) = (fields.u64()?, fields.u64()?, fields.u64()?);
            let read_only = flags & 1 != 0;
            Ok(Space { total, free, available, inodes, inodes_free, read_only })
        })())
    }

    /// Names of users and groups by their numbers, in the same order; empty where the server
    /// knows none.
    ///
    /// # Errors
    /// As [`Sftp::open_file`]; unsupported.
    pub async fn owners(
        &self,
        users: &[u32],
        groups: &[u32],
    ) -> Result<(Vec<Bytes>, Vec<Bytes>), SftpError> {
        const NAME: &str = "users-groups-by-id@openssh.com";
        self.needs(NAME, "way to name users and groups")?;
        let numbers = |ids: &[u32]| ids.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<_>>();
        let request = Request::extended(NAME).string(&numbers(users)).string(&numbers(groups));
        let reply = self.ask(request).await?;
        let mut fields = self.expect(reply, kind::EXTENDED_REPLY)?;
        let mut names = |n: usize| {
            let mut list = fields.list()?;
            (0..n).map(|_| list.string()).collect::<Result<Vec<_>, Broken>>()
        };
        let read = names(users.len()).and_then(|u| Ok((u, names(groups.len())?)));
        self.check(read)
    }

    fn needs(&self, extension: &str, what: &'static str) -> Result<(), SftpError> {
        match self.has(extension) {
            true => Ok(()),
            false => Err(SftpError::Unsupported(what)),
        }
    }

    async fn handle(&self, request: Request) -> Result<RemoteFile, SftpError> {
        let reply = self.ask(request).await?;
        let mut fields = self.expect(reply, kind::HANDLE)?;
        let bytes = self.check(fields.string())?;
        // The draft's limit, and the room in front of a block.
        if bytes.len() > 256 {
            return Err(self.broken("a handle of more than 256 bytes"));
        }
        Ok(RemoteFile { sftp: self.clone(), bytes, open: AtomicBool::new(true) })
    }

    async fn attrs(&self, request: Request) -> Result<Attrs, SftpError> {
        let reply = self.ask(request).await?;
        let mut fields = self.expect(reply, kind::ATTRS)?;
        self.check(fields.attrs())
    }

    async fn name(&self, request: Request) -> Result<Bytes, SftpError> {
        let reply = self.ask(request).await?;
        let mut fields = self.expect(reply, kind::NAME)?;
        match self.check(fields.u32())? {
            0 => Err(self.broken("no name where one was asked for")),
            _ => self.check(fields.string()),
        }
    }

    /// A request whose reply is a status.
    async fn done(&self, request: Request) -> Result<(), SftpError> {
        let reply = self.ask(request).await?;
        self.ok(reply)
    }

    fn ok(&self, reply: Packet) -> Result<(), SftpError> {
        if reply.kind != kind::STATUS {
            return Err(self.broken(format!("a reply of kind {} to a change", reply.kind)));
        }
        let mut fields = reply.fields();
        let code = self.check(fields.u32())?;
        if code == 0 { Ok(()) } else { Err(status(code, fields)) }
    }

    fn expect(&self, reply: Packet, wanted: u8) -> Result<Fields, SftpError> {
        match reply.kind {
            found if found == wanted => Ok(reply.fields()),
            kind::STATUS => {
                let mut fields = reply.fields();
                match self.check(fields.u32())? {
                    0 => Err(self.broken("success without a result")),
                    code => Err(status(code, fields)),
                }
            }
            found => Err(self.broken(format!("a reply of kind {found} instead of {wanted}"))),
        }
    }

    fn check<T>(&self, read: Result<T, Broken>) -> Result<T, SftpError> {
        read.map_err(|Broken(what)| self.broken(what))
    }
}

impl RemoteFile {
    /// At most `length` bytes at `offset`, in the pieces they came in; fewer near the end.
    ///
    /// # Errors
    /// As [`Sftp::open_file`]; at the end of the file, [`SftpError::is_eof`].
    pub async fn read(&self, offset: u64, length: u32) -> Result<Vec<Bytes>, SftpError> {
        let request = self.request(kind::READ).u64(offset).u32(length);
        let reply = self.sftp.ask(request).await?;
        match reply {
            Packet { body: Body::Data(pieces), .. } => {
                let got: usize = pieces.iter().map(Bytes::len).sum();
                match got {
                    0 if length > 0 => Err(self.sftp.broken("data without a byte")),
                    got if got > length as usize => {
                        Err(self.sftp.broken("more data than was asked for"))
                    }
                    _ => Ok(pieces),
                }
            }
            other => Err(self
                .sftp
                .expect(other, kind::DATA)
                .err()
                .unwrap_or_else(|| self.sftp.broken("a reply that is no data"))),
        }
    }

    /// Writes a block at `offset`.
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn write(&self, offset: u64, block: Block) -> Result<(), SftpError> {
        let handle = self.bytes.clone();
        let reply = self.sftp.session.ask(move |id| block.sealed(id, &handle, offset)).await?;
        self.sftp.ok(reply)
    }

    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn stat(&self) -> Result<Attrs, SftpError> {
        self.sftp.attrs(self.request(kind::FSTAT)).await
    }

    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn set_stat(&self, attrs: &Attrs) -> Result<(), SftpError> {
        self.sftp.done(self.request(kind::FSETSTAT).attrs(attrs)).await
    }

    /// Makes sure that what was written is on the disk.
    ///
    /// # Errors
    /// As [`Sftp::open_file`]; unsupported.
    pub async fn sync(&self) -> Result<(), SftpError> {
        self.sftp.needs("fsync@openssh.com", "way to make writes last")?;
        self.sftp.done(Request::extended("fsync@openssh.com").string(&self.bytes)).await
    }

    /// The server copies from here to another open file, from `from` to the end.
    ///
    /// # Errors
    /// As [`Sftp::open_file`]; unsupported.
    pub async fn copy_to(&self, from: u64, to: &RemoteFile) -> Result<(), SftpError> {
        self.sftp.needs("copy-data", "way to copy a file by itself")?;
        let request = Request::extended("copy-data").string(&self.bytes).u64(from).u64(0);
        self.sftp.done(request.string(&to.bytes).u64(from)).await
    }

    /// The next names of a directory. Empty: that was all.
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn list(&self) -> Result<Vec<Entry>, SftpError> {
        let reply = self.sftp.ask(self.request(kind::READDIR)).await?;
        let mut fields = match self.sftp.expect(reply, kind::NAME) {
            Err(error) if error.is_eof() => return Ok(Vec::new()),
            fields => fields?,
        };
        let count = self.sftp.check(fields.u32())?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let entry = (|| {
                let (name, long) = (fields.string()?, fields.string()?);
                Ok(Entry { name, attrs: fields.attrs()?, long })
            })();
            entries.push(self.sftp.check(entry)?);
        }
        if entries.is_empty() {
            return Err(self.sftp.broken("a listing without a name"));
        }
        Ok(entries)
    }

    /// Closes it, and says whether all was well.
    ///
    /// # Errors
    /// As [`Sftp::open_file`].
    pub async fn close(&self) -> Result<(), SftpError> {
        let request = self.request(kind::CLOSE);
        self.open.store(false, Ordering::Relaxed);
        self.sftp.done(request).await
    }

    fn request(&self, kind: u8) -> Request {
        Request::new(kind, self.bytes.len()).string(&self.bytes)
    }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        if self.open.load(Ordering::Relaxed) {
            self.sftp.session.forget(self.bytes.clone());
        }
    }
}

fn status(code: u32, mut fields: Fields) -> SftpError {
    let status = match code {
        1 => Status::Eof,
        2 => Status::NoSuchFile,
        3 => Status::PermissionDenied,
        4 => Status::Failure,
        8 => Status::Unsupported,
        other => Status::Other(other),
    };
    // Version 3 servers may leave the text out.
    let message = fields.string().unwrap_or_default();
    let message = String::from_utf8_lossy(&message);
    let message = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    SftpError::Status { status, message }
}
