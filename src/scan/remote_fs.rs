//! Recognizes file systems whose changes inotify cannot report completely.

use std::io;
use std::path::Path;

/// Magic numbers of statfs(2), and the names that users know.
const REMOTE_FILE_SYSTEMS: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0000_517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x6573_5546, "FUSE"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x786f_4256, "VirtualBox shared folders"),
    (0x0bac_bacb, "VMware shared folders"),
    (0x0bd0_0bd0, "Lustre"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x7c7c_6673, "Parallels shared folders"),
];

/// The same by their types in the mount table. `fuseblk` is of local disks, but its programs need not
/// raise events either.
const REMOTE_TYPES: &[(&str, &str)] = &[
    ("nfs", "NFS"),
    ("nfs4", "NFS"),
    ("cifs", "CIFS"),
    ("smb3", "SMB"),
    ("smbfs", "SMB"),
    ("9p", "9P"),
    ("fuse", "FUSE"),
    ("fuseblk", "FUSE"),
    ("virtiofs", "virtiofs"),
    ("ceph", "Ceph"),
    ("afs", "AFS"),
    ("lustre", "Lustre"),
    ("ocfs2", "OCFS2"),
    ("gfs2", "GFS2"),
    ("vboxsf", "VirtualBox shared folders"),
    ("vmhgfs", "VMware shared folders"),
    ("prl_fs", "Parallels shared folders"),
];

/// Returns the name of the file system at `path` if its files can change without an inotify event
/// on this machine: on a server, on the host of a virtual machine, or in a FUSE program.
///
/// # Errors
/// Those of statfs(2).
pub fn remote_fs_name(path: &Path) -> io::Result<Option<&'static str>> {
    // Linux magic numbers have 32 bits; the width and sign of the field depend on the architecture.
    let magic = rustix::fs::statfs(path)?.f_type & 0xffff_ffff;
    Ok(u32::try_from(magic).ok().and_then(remote_fs_by_magic))
}

fn remote_fs_by_magic(magic: u32) -> Option<&'static str> {
    REMOTE_FILE_SYSTEMS.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

/// Returns the same name for a type of file systems in the mount table, as `fuse.sshfs`.
pub(super) fn remote_fs_by_type(fs_type: &str) -> Option<&'static str> {
    let family = fs_type.split_once('.').map_or(fs_type, |(family, _)| family);
    REMOTE_TYPES.iter().find(|(known, _)| *known == family).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_file_systems_are_recognized_by_type() {
        for (fs_type, name) in [
            ("nfs4", Some("NFS")),
            ("fuse.sshfs", Some("FUSE")),
            ("fuseblk", Some("FUSE")),
            ("prl_fs", Some("Parallels shared folders")),
            ("ext4", None),
            ("fusectl", None),
            ("", None),
        ] {
            assert_eq!(remote_fs_by_type(fs_type), name, "{fs_type}");
        }
    }

    #[test]
    fn remote_file_systems_are_recognized_by_magic_number() {
        for (magic, name) in [
            (0x6969, Some("NFS")),
            (0xff53_4d42, Some("CIFS")),
            (0xfe53_4d42, Some("SMB")),
            (0x517b, Some("SMB")),
            (0x0102_1997, Some("9P")),
            (0x6573_5546, Some("FUSE")),
            (0x00c3_6400, Some("Ceph")),
            (0x5346_414f, Some("AFS")),
            (0x786f_4256, Some("VirtualBox shared folders")),
            (0x0bac_bacb, Some("VMware shared folders")),
            (0x0bd0_0bd0, Some("Lustre")),
            (0x7461_636f, Some("OCFS2")),
            (0x0116_1970, Some("GFS2")),
            (0x7c7c_6673, Some("Parallels shared folders")),
            (0xef53, None),
            (0x0102_1994, None),
        ] {
            assert_eq!(remote_fs_by_magic(magic), name, "{magic:#x}");
        }
    }

    #[test]
    fn local_file_systems_have_no_remote_name() {
        for path in ["/proc", "/dev/shm"] {
            assert_eq!(remote_fs_name(Path::new(path)).unwrap(), None);
        }
        assert!(remote_fs_name(Path::new("/nowhere")).is_err());
    }
}
