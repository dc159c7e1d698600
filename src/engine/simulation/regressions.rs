//! Histories that the simulation found wrong once, shrunk, each with what was done about it.

use super::history::Op::{
    Allow, BreakStore, Close as CloseFile, Crash, CrashAtCommit, CreateDir, DeliverResult, Deny,
    FailEffect, HoldEffects, HoldEvents, LimitWatches, LockGit, Mount, MountBelow, MoveRoot,
    Overflow, Pass, ReleaseEffects, Remove, Rename, RepairStore, Replace, Rescan, ReturnRoot,
    StepEffect, Symlink, Sync, TimeOutEffect, UnlimitWatches, UnlockGit, Unmount, UnmountBelow,
    Write, WriteKeepingTime,
};
use super::history::Size::{Large, Small};
use super::history::Then::{Run, Wait};
use super::history::{At, Close, History, Step, Written};

#[allow(clippy::too_many_lines, reason = "a table")]
pub(super) fn regressions() -> Vec<History> {
    let histories = vec![
        // An evaluation that is owed before the first scan is complete.
        vec![Step(Mount(1), Run(122)), Step(WriteKeepingTime(At(1, 5)), Run(31))],
        // A search for the root that is in flight is not due.
        vec![Step(Mount(0), Run(0)), Step(HoldEffects, Run(0)), Step(LockGit(1), Run(316))],
        // A directory below an unreadable one is not what is unreadable.
        vec![Step(Deny(At(0, 2)), Run(0)), Step(CreateDir(At(0, 3)), Run(0))],
        // A deferred deletion of a feature ends with the lock.
        vec![
            Step(Remove(At(0, 8)), Run(0)),
            Step(LockGit(0), Run(0)),
            Step(MoveRoot(0), Run(0)),
            Step(ReturnRoot(0), Run(0)),
        ],
        // A feature that was missing at the start is listed when it is found.
        vec![
            Step(LockGit(0), Run(0)),
            Step(Remove(At(0, 8)), Run(0)),
            Step(Mount(0), Run(0)),
            Step(Unmount(0), Run(0)),
            Step(Write(At(0, 1), Large, Close::Yes), Run(0)),
        ],
        // Directories of metadata are read when they can be watched again.
        vec![
            Step(Mount(0), Run(0)),
            Step(LimitWatches(2), Run(0)),
            Step(Unmount(0), Run(1)),
            Step(Write(At(0, 12), Large, Close::Yes), Run(0)),
        ],
        // A result from another root does not delete.
        vec![
            Step(HoldEffects, Run(0)),
            Step(Write(At(0, 14), Large, Close::Yes), Run(0)),
            Step(Write(At(0, 1), Small, Close::No), Run(0)),
            Step(Mount(0), Run(0)),
            Step(Rename(At(1, 0), 3), Run(66)),
            Step(StepEffect(2), Run(0)),
        ],
        // A directory that was hidden while it was watched.
        vec![
            Step(HoldEffects, Run(0)),
            Step(Crash, Run(0)),
            Step(Write(At(0, 6), Small, Close::No), Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(Mount(0), Run(0)),
            Step(StepEffect(4), Run(0)),
        ],
        // The directory of a feature is checked once.
        vec![
            Step(Write(At(0, 0), Small, Close::Yes), Run(0)),
            Step(WriteKeepingTime(At(0, 3)), Run(0)),
            Step(Remove(At(0, 8)), Run(0)),
            Step(Write(At(0, 10), Large, Close::Yes), Run(0)),
            Step(Replace(At(1, 10)), Run(31)),
            Step(HoldEffects, Run(162)),
            Step(StepEffect(5), Run(0)),
            Step(Sync(0), Run(1656)),
            Step(DeliverResult(0), Run(0)),
        ],
        // A check that is older than a listing.
        vec![
            Step(Write(At(0, 0), Small, Close::No), Run(10)),
            Step(WriteKeepingTime(At(0, 9)), Run(94)),
            Step(HoldEffects, Run(0)),
            Step(Write(At(0, 0), Small, Close::Yes), Run(0)),
            Step(Write(At(0, 4), Large, Close::Yes), Run(68)),
            Step(FailEffect(0), Run(0)),
            Step(StepEffect(3), Run(0)),
            Step(StepEffect(3), Run(0)),
            Step(Remove(At(0, 4)), Run(0)),
            Step(TimeOutEffect(4), Run(0)),
        ],
        // A feature that was deleted is not listed before it is found.
        vec![
            Step(Remove(At(0, 8)), Run(0)),
            Step(Mount(0), Run(70)),
            Step(Write(At(0, 2), Large, Close::No), Run(0)),
            Step(Rescan(0), Run(70)),
        ],
        // An answer waits for deferred deletions when the lock is released.
        vec![
            Step(Write(At(0, 0), Small, Close::No), Run(77)),
            Step(Remove(At(0, 0)), Run(0)),
            Step(LockGit(0), Run(0)),
            Step(Symlink(At(0, 3)), Run(46)),
            Step(StepEffect(4), Run(14)),
            Step(UnlockGit(0), Run(2)),
            Step(Write(At(0, 10), Large, Close::No), Run(0)),
            Step(Sync(0), Run(38)),
        ],
        // Refused watches that are retried while the root is away.
        vec![
            Step(Overflow(0), Run(0)),
            Step(LimitWatches(3), Run(0)),
            Step(Remove(At(0, 1)), Run(61)),
            Step(HoldEffects, Run(0)),
            Step(CloseFile(At(0, 0)), Run(1211)),
            Step(StepEffect(0), Run(0)),
            Step(Write(At(0, 6), Large, Close::Yes), Run(0)),
            Step(MoveRoot(0), Run(0)),
            Step(StepEffect(2), Run(0)),
        ],
        // A deferred deletion does not cut debouncing short.
        vec![
            Step(Replace(At(0, 1)), Run(0)),
            Step(StepEffect(5), Run(51)),
            Step(Rename(At(0, 1), 4), Run(0)),
            Step(LockGit(0), Run(0)),
            Step(Symlink(At(1, 8)), Run(1987)),
            Step(Write(At(0, 1), Small, Close::No), Run(16)),
        ],
        // A directory that was moved away and changed.
        vec![
            Step(Write(At(0, 3), Small, Close::Yes), Run(0)),
            Step(HoldEvents, Run(82)),
            Step(Rename(At(0, 2), 1), Run(0)),
            Step(Allow(At(0, 1)), Run(0)),
        ],
        // A listing that is older than another one.
        vec![
            Step(HoldEffects, Run(0)),
            Step(Sync(0), Run(0)),
            Step(Remove(At(0, 11)), Run(1349)),
            Step(StepEffect(1), Run(0)),
            Step(StepEffect(1), Run(0)),
            Step(Remove(At(0, 2)), Run(0)),
            Step(StepEffect(1), Run(0)),
            Step(Deny(At(0, 8)), Run(0)),
        ],
        // An inspection that times out.
        vec![
            Step(Rename(At(0, 9), 5), Run(30)),
            Step(HoldEffects, Run(0)),
            Step(Remove(At(1, 13)), Run(0)),
            Step(Symlink(At(0, 3)), Run(0)),
            Step(Pass, Run(76)),
            Step(TimeOutEffect(1), Run(0)),
            Step(Write(At(1, 7), Small, Close::No), Run(0)),
        ],
        // The metadata of a new feature is read after it is watched.
        vec![
            Step(Symlink(At(0, 14)), Run(0)),
            Step(Overflow(0), Run(34)),
            Step(Sync(0), Run(0)),
            Step(Remove(At(0, 8)), Run(0)),
            Step(StepEffect(0), Run(17)),
            Step(Sync(1), Run(0)),
            Step(Sync(1), Run(0)),
            Step(WriteKeepingTime(At(0, 3)), Run(0)),
            Step(HoldEffects, Run(0)),
            Step(Write(At(0, 0), Small, Close::Yes), Run(0)),
            Step(Write(At(0, 4), Large, Close::Yes), Run(68)),
            Step(WriteKeepingTime(At(0, 1)), Run(39)),
            Step(StepEffect(3), Run(0)),
            Step(Remove(At(0, 4)), Run(0)),
        ],
        // A root that is lost before the first commit of a feature.
        vec![
            Step(Write(At(0, 14), Large, Close::No), Run(50)),
            Step(MoveRoot(0), Run(0)),
            Step(HoldEffects, Run(0)),
            Step(Write(At(0, 3), Large, Close::No), Run(0)),
            Step(HoldEvents, Run(0)),
            Step(Crash, Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(TimeOutEffect(0), Run(0)),
            Step(Replace(At(0, 14)), Run(0)),
            Step(ReturnRoot(0), Run(1263)),
            Step(Write(At(0, 3), Small, Close::No), Run(0)),
            Step(Write(At(0, 12), Large, Close::Yes), Run(0)),
        ],
        // A file that was replaced by a directory that was unreadable while the store failed.
        vec![
            Step(Mount(0), Run(0)),
            Step(Write(At(0, 2), Small, Close::Yes), Run(52)),
            Step(Unmount(0), Run(3)),
            Step(Deny(At(0, 2)), Run(0)),
            Step(BreakStore, Run(48)),
            Step(Allow(At(0, 2)), Run(77)),
        ],
        // An unreadable directory that was moved to where a deleted file is being checked.
        vec![
            Step(Write(At(0, 6), Small, Close::No), Run(0)),
            Step(Deny(At(0, 5)), Run(0)),
            Step(Write(At(0, 10), Large, Close::Yes), Run(103)),
            Step(Remove(At(0, 10)), Run(0)),
            Step(HoldEffects, Run(138)),
            Step(StepEffect(5), Run(0)),
            Step(Rename(At(0, 5), 10), Run(0)),
        ],
        // A first scan that times out, after which another directory is the root.
        vec![
            Step(HoldEffects, Run(0)),
            Step(Crash, Run(0)),
            Step(TimeOutEffect(0), Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(MoveRoot(0), Run(1133)),
            Step(Write(At(0, 14), Small, Close::Yes), Run(0)),
            Step(ReleaseEffects, Run(0)),
            Step(Remove(At(0, 8)), Run(0)),
            Step(Sync(0), Run(0)),
        ],
        // A feature that was missing while it was listed, and was created again.
        vec![
            Step(CrashAtCommit(Written::Yes), Run(0)),
            Step(Replace(At(1, 1)), Run(0)),
            Step(Remove(At(0, 13)), Run(50)),
            Step(HoldEffects, Run(0)),
            Step(Overflow(1), Run(71)),
            Step(StepEffect(1), Run(0)),
            Step(Remove(At(1, 8)), Run(0)),
            Step(StepEffect(1), Run(0)),
            Step(CreateDir(At(1, 4)), Run(0)),
        ],
        // Watches of a file system that is mounted over the root and unmounted again.
        vec![
            Step(LimitWatches(3), Run(0)),
            Step(Crash, Run(0)),
            Step(HoldEffects, Run(1385)),
            Step(Mount(0), Run(0)),
            Step(Write(At(0, 2), Small, Close::Yes), Run(0)),
            Step(UnlimitWatches, Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(Unmount(0), Run(0)),
            Step(ReleaseEffects, Run(0)),
            Step(Symlink(At(0, 14)), Run(0)),
        ],
        // A root that is moved away during the first scan.
        vec![
            Step(BreakStore, Run(0)),
            Step(HoldEffects, Run(0)),
            Step(Remove(At(1, 2)), Run(0)),
            Step(Crash, Run(0)),
            Step(Replace(At(1, 1)), Run(0)),
            Step(StepEffect(1), Run(0)),
            Step(MoveRoot(1), Run(0)),
            Step(Sync(1), Run(0)),
            Step(ReleaseEffects, Run(0)),
        ],
        // A feature without metadata that could not be watched before its metadata was read.
        vec![
            Step(Write(At(0, 4), Large, Close::Yes), Run(0)),
            Step(HoldEffects, Run(0)),
            Step(Crash, Run(0)),
            Step(LimitWatches(3), Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(Remove(At(0, 4)), Run(0)),
        ],
        // A request during a first scan that has read the disk already.
        vec![
            Step(HoldEffects, Run(0)),
            Step(Crash, Run(0)),
            Step(Remove(At(0, 13)), Run(0)),
            Step(Write(At(0, 2), Small, Close::No), Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(HoldEvents, Run(0)),
            Step(Write(At(0, 0), Small, Close::Yes), Run(0)),
            Step(Sync(0), Run(1634)),
            Step(ReleaseEffects, Run(0)),
        ],
        // A check below a directory that could not be read, later than a listing that could.
        vec![
            Step(ReturnRoot(0), Run(27)),
            Step(HoldEffects, Run(0)),
            Step(Deny(At(0, 2)), Run(78)),
            Step(StepEffect(0), Run(0)),
            Step(Write(At(0, 3), Small, Close::No), Run(69)),
            Step(StepEffect(0), Run(0)),
            Step(Allow(At(0, 2)), Run(55)),
        ],
        // A listing that is older than the check that found a file in place of the directory.
        vec![
            Step(Remove(At(0, 2)), Run(23)),
            Step(HoldEffects, Run(0)),
            Step(Write(At(0, 6), Small, Close::No), Run(0)),
            Step(StepEffect(0), Run(31)),
            Step(StepEffect(0), Run(0)),
            Step(TimeOutEffect(1), Run(0)),
            Step(Remove(At(0, 13)), Run(0)),
            Step(StepEffect(1), Run(0)),
            Step(Write(At(0, 2), Large, Close::No), Run(1185)),
            Step(StepEffect(2), Run(0)),
            Step(DeliverResult(1), Run(0)),
        ],
        // Refused watches, requested again while the first request was under way.
        vec![
            Step(Write(At(0, 7), Large, Close::No), Run(0)),
            Step(Overflow(0), Run(0)),
            Step(Deny(At(0, 14)), Run(0)),
            Step(LimitWatches(4), Run(201)),
            Step(HoldEffects, Run(0)),
            Step(WriteKeepingTime(At(0, 3)), Run(1002)),
            Step(UnlimitWatches, Run(0)),
            Step(StepEffect(0), Run(3250)),
        ],
        // A removal that was reported late ended the watch of a directory that was created again.
        vec![
            Step(Overflow(0), Run(74)),
            Step(Overflow(0), Run(119)),
            Step(Overflow(0), Run(102)),
            Step(HoldEffects, Run(104)),
            Step(Remove(At(0, 2)), Run(0)),
            Step(StepEffect(1), Run(0)),
            Step(Write(At(0, 5), Small, Close::Yes), Run(0)),
            Step(ReleaseEffects, Run(0)),
            Step(Write(At(0, 3), Large, Close::No), Run(0)),
        ],
        // Lost events were not reported to a project that had just left the shared instance.
        vec![
            Step(Remove(At(0, 13)), Run(0)),
            Step(Write(At(0, 11), Large, Close::Yes), Run(0)),
            Step(Write(At(0, 7), Large, Close::Yes), Run(68)),
            Step(HoldEffects, Run(0)),
            Step(Mount(1), Run(0)),
            Step(CreateDir(At(0, 0)), Run(0)),
            Step(HoldEvents, Run(0)),
            Step(Overflow(0), Run(0)),
            Step(Replace(At(0, 2)), Run(0)),
            Step(ReleaseEffects, Run(0)),
        ],
        // What was not on a mount when it was stored is hidden by one that is there at the start.
        vec![
            Step(Write(At(1, 3), Large, Close::Yes), Run(94)),
            Step(MountBelow(At(1, 2)), Run(0)),
            Step(Crash, Run(0)),
        ],
        // A file that was not found while something was mounted for a moment.
        vec![
            Step(WriteKeepingTime(At(0, 0)), Run(0)),
            Step(HoldEffects, Run(55)),
            Step(MountBelow(At(0, 9)), Run(0)),
            Step(StepEffect(0), Run(0)),
        ],
        // A file was not found twice, each time while something was mounted for a moment.
        {
            let not_found = [
                Step(MountBelow(At(0, 8)), Wait),
                Step(StepEffect(2), Wait),
                Step(StepEffect(2), Wait),
                Step(UnmountBelow(0), Run(0)),
                Step(StepEffect(0), Wait),
                Step(DeliverResult(2), Run(0)),
                Step(DeliverResult(0), Run(100)),
            ];
            let before = [
                Step(Write(At(0, 0), Small, Close::Yes), Run(500)),
                Step(HoldEffects, Run(0)),
                Step(Rescan(0), Run(30)),
            ];
            let after = [Step(ReleaseEffects, Run(1000))];
            [&before[..], &not_found, &not_found, &after].concat()
        },
        // A file was replaced on a mount, and another file system was mounted in its place.
        vec![
            Step(WriteKeepingTime(At(0, 3)), Run(56)),
            Step(MountBelow(At(0, 2)), Run(0)),
            Step(Replace(At(0, 3)), Run(0)),
            Step(UnmountBelow(0), Run(0)),
            Step(MountBelow(At(0, 3)), Run(196)),
        ],
        // The same, with a file that the former mount had as well.
        vec![
            Step(MountBelow(At(0, 1)), Run(0)),
            Step(Write(At(0, 4), Small, Close::No), Run(72)),
            Step(UnmountBelow(0), Run(0)),
            Step(Write(At(0, 1), Large, Close::No), Run(0)),
            Step(Rename(At(0, 1), 4), Run(0)),
            Step(MountBelow(At(0, 4)), Run(101)),
        ],
        // A file came and went while the store failed.
        vec![
            Step(BreakStore, Run(0)),
            Step(WriteKeepingTime(At(1, 1)), Run(63)),
            Step(Remove(At(1, 1)), Run(0)),
            Step(RepairStore, Run(140)),
            Step(Allow(At(0, 6)), Run(1108)),
            Step(WriteKeepingTime(At(1, 3)), Run(0)),
        ],
        // An unreadable directory on a mount, at the path of a hidden file, was removed.
        vec![
            Step(Write(At(0, 3), Large, Close::Yes), Run(0)),
            Step(HoldEvents, Run(0)),
            Step(MountBelow(At(0, 2)), Run(0)),
            Step(Sync(0), Run(111)),
            Step(Sync(0), Run(357)),
            Step(CreateDir(At(0, 3)), Run(17)),
            Step(Deny(At(0, 3)), Run(521)),
            Step(Remove(At(0, 2)), Run(208)),
        ],
        // Unmounted, and something else mounted before the mount table was read.
        vec![
            Step(MountBelow(At(0, 3)), Run(0)),
            Step(Write(At(0, 3), Large, Close::Yes), Run(64)),
            Step(UnmountBelow(0), Run(0)),
            Step(Write(At(0, 3), Large, Close::No), Run(0)),
            Step(MountBelow(At(0, 2)), Run(150)),
        ],
        vec![
            Step(MountBelow(At(0, 1)), Run(0)),
            Step(Write(At(0, 0), Large, Close::Yes), Run(53)),
            Step(UnmountBelow(0), Run(0)),
            Step(Write(At(0, 0), Large, Close::No), Run(0)),
            Step(MountBelow(At(0, 1)), Run(292)),
        ],
        // A file that was replaced below a mount, and hidden again before that was seen.
        vec![
            Step(MountBelow(At(0, 13)), Run(0)),
            Step(WriteKeepingTime(At(0, 3)), Run(90)),
            Step(UnmountBelow(0), Run(0)),
            Step(Replace(At(0, 1)), Run(54)),
            Step(MountBelow(At(0, 13)), Run(156)),
        ],
        // A feature that was hidden before it could be stored.
        vec![
            Step(BreakStore, Run(0)),
            Step(Write(At(0, 10), Small, Close::No), Run(555)),
            Step(MountBelow(At(0, 13)), Run(66)),
            Step(RepairStore, Run(171)),
            Step(CrashAtCommit(Written::Yes), Run(306)),
        ],
        vec![
            Step(HoldEffects, Run(0)),
            Step(Remove(At(0, 13)), Run(0)),
            Step(Write(At(1, 11), Large, Close::Yes), Run(0)),
            Step(Sync(0), Run(0)),
            Step(StepEffect(2), Run(0)),
            Step(MountBelow(At(1, 13)), Run(0)),
            Step(Write(At(1, 3), Small, Close::No), Run(0)),
            Step(DeliverResult(0), Run(27)),
            Step(StepEffect(3), Run(0)),
        ],
        vec![
            Step(MountBelow(At(0, 0)), Run(30)),
            Step(Write(At(0, 0), Small, Close::No), Run(0)),
            Step(HoldEffects, Run(50)),
            Step(StepEffect(0), Run(0)),
            Step(UnmountBelow(0), Run(0)),
            Step(Write(At(0, 0), Small, Close::Yes), Run(0)),
            Step(MountBelow(At(0, 0)), Run(0)),
            Step(ReleaseEffects, Run(128)),
        ],
        vec![
            Step(Replace(At(0, 3)), Run(0)),
            Step(MountBelow(At(0, 1)), Run(0)),
            Step(WriteKeepingTime(At(0, 3)), Run(95)),
            Step(UnmountBelow(0), Run(0)),
            Step(MountBelow(At(0, 1)), Run(160)),
        ],
        // The feature was removed below the mount before all that was missing in its listing was checked.
        vec![
            Step(Write(At(0, 14), Large, Close::Yes), Run(57)),
            Step(MountBelow(At(0, 13)), Run(0)),
            Step(Write(At(0, 6), Large, Close::Yes), Run(20)),
            Step(Remove(At(0, 13)), Run(199)),
        ],
        // A directory whose watch was refused is reported as removed by an event of what was mounted there.
        vec![
            Step(HoldEvents, Run(0)),
            Step(Sync(0), Run(0)),
            Step(Write(At(0, 3), Small, Close::Yes), Run(1547)),
            Step(MountBelow(At(0, 2)), Run(0)),
            Step(LimitWatches(4), Run(0)),
            Step(Replace(At(0, 3)), Run(0)),
            Step(UnmountBelow(0), Run(0)),
            Step(Remove(At(0, 3)), Run(0)),
        ],
        // The project did not respond, and meanwhile another file system was mounted in place of the one that
        // held the feature.
        vec![
            Step(Write(At(0, 3), Small, Close::No), Run(62)),
            Step(MountBelow(At(0, 1)), Wait),
            Step(Write(At(0, 3), Large, Close::Yes), Run(0)),
            Step(HoldEffects, Run(36)),
            Step(TimeOutEffect(0), Run(0)),
            Step(UnmountBelow(0), Run(0)),
            Step(MountBelow(At(0, 8)), Run(0)),
            Step(ReleaseEffects, Run(0)),
        ],
        // A probe found git's lock, and its result came after the longest wait for it.
        vec![
            Step(Write(At(0, 0), Large, Close::No), Run(36)),
            Step(LockGit(0), Run(58)),
            Step(Rename(At(0, 0), 1), Run(83)),
            Step(HoldEffects, Run(21)),
            Step(StepEffect(0), Run(0)),
            Step(DeliverResult(0), Run(18)),
            Step(StepEffect(0), Run(1837)),
            Step(DeliverResult(0), Run(0)),
        ],
        // A directory on a mount that cannot be read, in place of a link below it, is removed.
        vec![
            Step(Symlink(At(0, 1)), Run(0)),
            Step(MountBelow(At(0, 4)), Run(0)),
            Step(CreateDir(At(0, 1)), Wait),
            Step(Deny(At(0, 1)), Run(0)),
            Step(Remove(At(0, 1)), Run(156)),
        ],
        // A directory was forgotten while a mount over the root hid it, so its watch outlived its use, and one at
        // the same path on the mount was not watched.
        vec![
            Step(HoldEffects, Run(0)),
            Step(Allow(At(0, 8)), Run(0)),
            Step(Mount(0), Run(0)),
            Step(ReleaseEffects, Run(0)),
            Step(Write(At(0, 2), Large, Close::Yes), Run(95)),
            Step(Replace(At(0, 1)), Run(0)),
            Step(Sync(0), Run(0)),
        ],
        // A directory that was moved was inspected while the root was hidden for a moment.
        vec![
            Step(Write(At(0, 12), Large, Close::Yes), Run(0)),
            Step(Symlink(At(0, 5)), Run(20)),
            Step(HoldEffects, Run(0)),
            Step(Rename(At(0, 8), 10), Run(0)),
            Step(Mount(0), Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(StepEffect(0), Run(0)),
        ],
        // The root was moved for a moment while a feature was found unreadable.
        vec![
            Step(Replace(At(1, 9)), Wait),
            Step(HoldEffects, Run(0)),
            Step(Symlink(At(0, 1)), Run(0)),
            Step(Deny(At(1, 8)), Run(0)),
            Step(Write(At(0, 11), Small, Close::Yes), Run(63)),
            Step(StepEffect(0), Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(MoveRoot(1), Run(0)),
            Step(Write(At(1, 3), Small, Close::Yes), Run(0)),
            Step(StepEffect(0), Run(0)),
        ],
        // A directory lost its permissions while it was being checked because of new attributes.
        vec![
            Step(HoldEffects, Run(0)),
            Step(Allow(At(1, 2)), Run(65)),
            Step(StepEffect(0), Run(0)),
            Step(Deny(At(1, 2)), Run(59)),
        ],
        // A feature was hidden for a moment while it was listed by the first scan.
        vec![
            Step(HoldEffects, Run(0)),
            Step(Crash, Run(0)),
            Step(Write(At(1, 0), Large, Close::Yes), Run(0)),
            Step(StepEffect(0), Run(0)),
            Step(StepEffect(2), Run(0)),
            Step(StepEffect(1), Run(0)),
            Step(MountBelow(At(1, 8)), Run(0)),
            Step(StepEffect(1), Run(0)),
            Step(DeliverResult(0), Run(0)),
            Step(DeliverResult(1), Run(0)),
        ],
        // The former watcher of a project still has its watches, whose events it does not get.
        vec![
            Step(MoveRoot(1), Run(0)),
            Step(WriteKeepingTime(At(0, 3)), Run(0)),
            Step(Overflow(0), Run(0)),
            Step(LimitWatches(2), Run(53)),
            Step(Write(At(0, 3), Large, Close::No), Run(69)),
        ],
        // A deletion is committed while its root is away and its mission is not known.
        vec![
            Step(Replace(At(0, 0)), Run(0)),
            Step(MoveRoot(0), Run(0)),
            Step(Write(At(0, 7), Large, Close::Yes), Run(0)),
            Step(Write(At(0, 3), Small, Close::Yes), Run(0)),
            Step(Sync(1), Run(0)),
            Step(Symlink(At(0, 1)), Run(0)),
            Step(WriteKeepingTime(At(0, 0)), Run(62)),
            Step(Write(At(0, 0), Large, Close::No), Run(0)),
            Step(Overflow(0), Run(0)),
            Step(BreakStore, Run(0)),
            Step(WriteKeepingTime(At(1, 1)), Run(0)),
            Step(Sync(1), Run(19)),
            Step(Write(At(0, 6), Large, Close::Yes), Run(3)),
            Step(Write(At(0, 0), Large, Close::Yes), Run(29)),
            Step(Write(At(0, 4), Large, Close::Yes), Run(0)),
            Step(Crash, Run(0)),
            Step(Remove(At(0, 1)), Run(135)),
        ],
        // The same, of a file that is unreadable since its file system was unmounted.
        vec![
            Step(Replace(At(0, 3)), Run(0)),
            Step(Write(At(0, 6), Small, Close::Yes), Run(75)),
            Step(Remove(At(0, 2)), Run(0)),
            Step(Write(At(0, 2), Small, Close::Yes), Run(0)),
            Step(MountBelow(At(0, 8)), Run(0)),
            Step(Replace(At(1, 4)), Run(0)),
            Step(Overflow(1), Run(0)),
            Step(Replace(At(0, 0)), Run(0)),
            Step(Symlink(At(0, 1)), Run(51)),
            Step(BreakStore, Run(0)),
            Step(Write(At(0, 14), Large, Close::Yes), Run(0)),
            Step(Write(At(0, 2), Small, Close::Yes), Run(0)),
            Step(UnmountBelow(0), Run(0)),
            Step(Sync(0), Run(0)),
            Step(Mount(0), Run(0)),
            Step(WriteKeepingTime(At(0, 14)), Run(0)),
            Step(Rename(At(0, 14), 4), Run(0)),
            Step(Crash, Run(0)),
        ],
    ];
    let silent = vec![
        // A feature that returned with an unmount before it was evaluated.
        vec![
            Step(MountBelow(At(1, 9)), Run(0)),
            Step(Write(At(1, 10), Large, Close::Yes), Run(24)),
        ],
        // The watches recovered while the test whether events arrive was under way.
        vec![
            Step(LimitWatches(3), Run(0)),
            Step(Crash, Run(757)),
            Step(CreateDir(At(1, 11)), Run(1500)),
            Step(UnlimitWatches, Run(0)),
            Step(Sync(1), Run(0)),
            Step(Write(At(1, 4), Small, Close::No), Run(0)),
        ],
        // The test whether events arrive did not end in time.
        vec![
            Step(MoveRoot(1), Run(0)),
            Step(ReturnRoot(1), Run(0)),
            Step(HoldEffects, Run(0)),
            Step(Replace(At(1, 3)), Run(20)),
            Step(StepEffect(0), Run(0)),
            Step(TimeOutEffect(1), Run(0)),
        ],
    ];
    let with_events = histories.into_iter().map(|steps| (false, steps));
    let without = silent.into_iter().map(|steps| (true, steps));
    let all = with_events.chain(without).flat_map(|(is_second_silent, steps)| {
        [false, true].map(|shares_instance| History {
            is_second_silent,
            shares_instance,
            steps: steps.clone(),
        })
    });
    all.collect()
}
