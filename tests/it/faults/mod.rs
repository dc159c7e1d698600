//! Faults of the machine: disk, kernel queues, file contents, random operations.

mod content;
mod disk;
mod mounts;
mod random_operations;
mod unresponsive;
mod watching;
