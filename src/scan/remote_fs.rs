//! File systems on which others change files without this kernel hearing of it.

use std::path::Path;

/// Magic numbers of `statfs`, and the names that people know.
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
];

/// The kind of file system at a path, where its files can be changed from elsewhere: another
/// machine, the host of a virtual one, the program behind it. Its events tell of some changes only.
#[must_use]
pub(crate) fn remote_fs_name(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // The magic numbers are of 32 bits, whatever the width of the field is here.
    let kind = u32::try_from(kind & 0xffff_ffff).ok()?;
    REMOTE_FILE_SYSTEMS.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_file_systems_are_not_polled() {
        for path in ["/proc", "/dev/shm", "/nowhere"] {
            assert_eq!(remote_fs_name(Path::new(path)), None);
        }
    }
}
