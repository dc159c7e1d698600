//! A file system in user space that can stop answering: a small read-only tree, mounted with the
//! kernel's FUSE protocol (`fuse(4)`, `linux/fuse.h`).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};

use super::not_run;

/// Largest request: the maximum write, which is not used, and a header.
const REQUEST_BYTES: usize = 64 << 10;
const MAX_WRITE: u32 = 4096;
const ROOT: u64 = 1;

const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;

/// Operations of the protocol.
mod op {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const STATFS: u32 = 17;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const INIT: u32 = 26;
    pub(super) const OPENDIR: u32 = 27;
    pub(super) const READDIR: u32 = 28;
    pub(super) const RELEASEDIR: u32 = 29;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const BATCH_FORGET: u32 = 42;
}

/// A mounted file system.
pub(crate) struct FuseMount {
    dir: PathBuf,
    control: UnixStream,
    server: Option<JoinHandle<()>>,
}

impl FuseMount {
    /// Mounts a tree of these files at `dir`, which is created. `None` if the kernel or the user may
    /// not; then that is reported.
    pub(crate) fn start(dir: &Path, files: &[(&str, &str)]) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let Ok(device) = device else {
            not_run("a file system that does not answer (no /dev/fuse)");
            return None;
        };
        let mount = Command::new("mount")
            .args(["--internal-only", "--types", "fuse", "dossierd-test"])
            .arg(dir)
            .args(["--options", "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other"])
            .stdin(Stdio::from(device.try_clone().unwrap()))
            .stderr(Stdio::null())
            .status();
        if !mount.is_ok_and(|status| status.success()) {
            not_run("a file system that does not answer (mounting it needs root)");
            return None;
        }
        let (control, server_control) = UnixStream::pair().unwrap();
        let tree = Tree::new(files);
        let server = std::thread::spawn(move || serve(device, server_control, tree));
        Some(Self { dir: dir.to_owned(), control, server: Some(server) })
    }

    /// Answers nothing until [`FuseMount::resume`].
    pub(crate) fn hang(&mut self) {
        self.command(b'h');
    }

    pub(crate) fn resume(&mut self) {
        self.command(b'r');
    }

    /// Appends a line to each file, without an event.
    #[allow(dead_code, reason = "not needed by benchmarks")]
    pub(crate) fn append_line(&mut self) {
        self.command(b'a');
    }

    fn command(&mut self, command: u8) {
        self.control.write_all(&[command]).unwrap();
        // Echoed once it is in effect.
        self.control.read_exact(&mut [0]).unwrap();
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.dir).status();
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        // Closes the device, which ends all requests with an error.
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// Answers requests until the other end of `control` is closed.
fn serve(mut device: File, mut control: UnixStream, mut tree: Tree) {
    let mut request = vec![0; REQUEST_BYTES];
    let mut answers = true;
    loop {
        let wanted = if answers { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [PollFd::new(&control, PollFlags::IN), PollFd::new(&device, wanted)];
        if poll(&mut fds, None).is_err() {
            continue;
        }
        let [commanded, requested] = [&fds[0], &fds[1]].map(|fd| !fd.revents().is_empty());
        if commanded {
            let mut command = [0];
            if control.read_exact(&mut command).is_err() {
                return;
            }
            match command {
                [b'a'] => tree.append_line(),
                [command] => answers = command == b'r',
            }
            let _ = control.write_all(&command);
        } else if answers && requested {
            let Ok(length) = device.read(&mut request) else {
                return;
            };
            if let Some(answer) = tree.answer(&request[..length]) {
                // Fails for a request that was interrupted.
                let _ = device.write_all(&answer);
            }
        }
    }
}

/// The files; the number of a node is its index and 1.
struct Tree(Vec<Node>);

struct Node {
    parent: u64,
    name: String,
    /// `None` for a directory.
    content: Option<Vec<u8>>,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut tree = Self(vec![Node { parent: 0, name: String::new(), content: None }]);
        for (path, content) in files {
            let mut at = ROOT;
            let mut names = path.split('/').peekable();
            while let Some(name) = names.next() {
                let is_file = names.peek().is_none();
                at = tree.child(at, name.as_bytes()).unwrap_or_else(|| {
                    let content = is_file.then(|| content.as_bytes().to_vec());
                    tree.0.push(Node { parent: at, name: name.to_owned(), content });
                    tree.0.len() as u64
                });
            }
        }
        tree
    }

    fn append_line(&mut self) {
        let contents = self.0.iter_mut().filter_map(|node| node.content.as_mut());
        contents.for_each(|content| content.extend(b"\nanother line\n"));
    }

    fn child(&self, parent: u64, name: &[u8]) -> Option<u64> {
        let is_child = |node: &Node| node.parent == parent && node.name.as_bytes() == name;
        self.0.iter().position(is_child).map(|index| index as u64 + 1)
    }

    fn node(&self, number: u64) -> Option<&Node> {
        self.0.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Returns the answer to a request, with its header; `None` if it has none.
    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let u32_at = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().unwrap());
        let (unique, number, body) = (u64_at(8), u64_at(16), &request[40..]);
        let read = (body.len() >= 24).then(|| (u64_at(48), u32_at(56)));
        let (offset, size) = read.unwrap_or_default();
        let (offset, size) = (usize::try_from(offset).unwrap(), size as usize);
        let result = match u32_at(4) {
            op::FORGET | op::BATCH_FORGET | op::INTERRUPT => return None,
            op::INIT => Ok(init()),
            op::LOOKUP => {
                let name = body.strip_suffix(b"\0").unwrap_or(body);
                self.child(number, name).map(|child| self.entry(child)).ok_or(ENOENT)
            }
            op::GETATTR => Ok([vec![0; 16], self.attributes(number)].concat()),
            op::OPEN | op::OPENDIR => Ok(vec![0; 16]),
            op::READ => {
                let content = self.node(number).and_then(|node| node.content.as_deref());
                let rest = content.unwrap_or_default().get(offset..).unwrap_or_default();
                Ok(rest[..rest.len().min(size)].to_vec())
            }
            op::READDIR => Ok(self.list(number, offset, size)),
            op::STATFS => Ok(vec![0; 80]),
            op::RELEASE | op::RELEASEDIR | op::FLUSH => Ok(Vec::new()),
            _ => Err(ENOSYS),
        };
        let (error, body) = result.map_or_else(|errno| (-errno, Vec::new()), |body| (0, body));
        let length = u32::try_from(16 + body.len()).unwrap();
        let mut answer = length.to_ne_bytes().to_vec();
        answer.extend(error.to_ne_bytes());
        answer.extend(unique.to_ne_bytes());
        answer.extend(body);
        Some(answer)
    }

    /// `struct fuse_entry_out`; nothing may be cached.
    fn entry(&self, number: u64) -> Vec<u8> {
        [number.to_ne_bytes().to_vec(), vec![0; 32], self.attributes(number)].concat()
    }

    /// `struct fuse_attr`.
    fn attributes(&self, number: u64) -> Vec<u8> {
        let content = self.node(number).and_then(|node| node.content.as_ref());
        let size = content.map_or(0, |content| content.len() as u64);
        let (mode, links) = if content.is_some() { (0o100_644_u32, 1_u32) } else { (0o040_755, 2) };
        let times = [1_700_000_000_u64; 3];
        let mut attributes = Vec::new();
        for value in [number, size, size.div_ceil(512)].into_iter().chain(times) {
            attributes.extend(value.to_ne_bytes());
        }
        for value in [0, 0, 0, mode, links, 0, 0, 0, 4096, 0] {
            attributes.extend(u32::to_ne_bytes(value));
        }
        attributes
    }

    /// The entries of a directory (`struct fuse_dirent`) from the one with the index `offset`.
    fn list(&self, number: u64, offset: usize, size: usize) -> Vec<u8> {
        let mut entries = Vec::new();
        let children = self.0.iter().enumerate().filter(|(_, node)| node.parent == number);
        for (position, (index, node)) in children.enumerate().skip(offset) {
            let mut entry = (index as u64 + 1).to_ne_bytes().to_vec();
            entry.extend((position as u64 + 1).to_ne_bytes());
            entry.extend(u32::try_from(node.name.len()).unwrap().to_ne_bytes());
            let kind: u32 = if node.content.is_some() { 8 } else { 4 };
            entry.extend(kind.to_ne_bytes());
            entry.extend(node.name.as_bytes());
            entry.resize(entry.len().next_multiple_of(8), 0);
            if entries.len() + entry.len() > size {
                break;
            }
            entries.extend(entry);
        }
        entries
    }
}

/// `struct fuse_init_out` of version 7.31.
fn init() -> Vec<u8> {
    let mut answer = Vec::new();
    for value in [7, 31, 0, 0, 0, MAX_WRITE, 1, 0, 0] {
        answer.extend(u32::to_ne_bytes(value));
    }
    answer.resize(64, 0);
    answer
}
