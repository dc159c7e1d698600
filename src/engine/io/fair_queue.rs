//! Queues of jobs, one for each project, that are served in turn.

use std::collections::{BTreeMap, VecDeque};

use crate::engine::ids::ProjectId;

/// The jobs that wait, and how many of each project are running.
#[derive(Debug)]
pub(super) struct FairQueue<J> {
    projects: BTreeMap<ProjectId, ProjectQueue<J>>,
    /// The projects that may run one more job, in the order in which they are served.
    turn: VecDeque<ProjectId>,
    /// Maximum number of jobs of one project that run at the same time.
    max_running: usize,
}

#[derive(Debug)]
struct ProjectQueue<J> {
    jobs: VecDeque<J>,
    running: usize,
}

impl<J> FairQueue<J> {
    pub(super) fn new(max_running: usize) -> Self {
        Self { projects: BTreeMap::new(), turn: VecDeque::new(), max_running }
    }

    /// Adds a job behind the others of its project.
    pub(super) fn push(&mut self, id: ProjectId, job: J) {
        let empty = ProjectQueue { jobs: VecDeque::new(), running: 0 };
        let queue = self.projects.entry(id).or_insert(empty);
        if queue.jobs.is_empty() && queue.running < self.max_running {
            self.turn.push_back(id);
        }
        queue.jobs.push_back(job);
    }

    /// Takes the next job of the project whose turn it is. [`FairQueue::finish`] must follow.
    pub(super) fn pop(&mut self) -> Option<(ProjectId, J)> {
        let id = self.turn.pop_front()?;
        let queue = self.projects.get_mut(&id)?;
        let job = queue.jobs.pop_front()?;
        queue.running += 1;
        if !queue.jobs.is_empty() && queue.running < self.max_running {
            self.turn.push_back(id);
        }
        Some((id, job))
    }

    /// Records that a job is not running any more.
    pub(super) fn finish(&mut self, id: ProjectId) {
        let Some(queue) = self.projects.get_mut(&id) else {
            return;
        };
        if queue.running == self.max_running && !queue.jobs.is_empty() {
            self.turn.push_back(id);
        }
        queue.running = queue.running.saturating_sub(1);
        if queue.running == 0 && queue.jobs.is_empty() {
            self.projects.remove(&id);
        }
    }

    /// Drops the jobs of a project that wait.
    pub(super) fn clear(&mut self, id: ProjectId) {
        self.turn.retain(|other| *other != id);
        if let Some(queue) = self.projects.get_mut(&id) {
            queue.jobs = VecDeque::new();
            if queue.running == 0 {
                self.projects.remove(&id);
            }
        }
    }

    /// Drops all jobs that wait.
    pub(super) fn clear_all(&mut self) {
        self.turn.clear();
        for queue in self.projects.values_mut() {
            queue.jobs.clear();
        }
        self.projects.retain(|_, queue| queue.running > 0);
    }

    /// Returns how many projects have a job that may run now.
    pub(super) fn startable(&self) -> usize {
        self.turn.len()
    }

    /// Returns true if no job may run now.
    pub(super) fn is_empty(&self) -> bool {
        self.turn.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids() -> [ProjectId; 3] {
        let first = ProjectId::FIRST;
        [first, first.next(), first.next().next()]
    }

    #[test]
    fn projects_are_served_in_turn_and_in_order() {
        let [a, b, _] = ids();
        let mut queue = FairQueue::new(usize::MAX);
        for job in 0..4 {
            queue.push(a, job);
        }
        queue.push(b, 10);
        queue.push(b, 11);
        let served: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(served, [(a, 0), (b, 10), (a, 1), (b, 11), (a, 2), (a, 3)]);
    }

    #[test]
    fn jobs_of_a_project_that_went_are_dropped() {
        let [a, b, _] = ids();
        let mut queue = FairQueue::new(1);
        queue.push(a, 0);
        queue.push(a, 1);
        queue.push(b, 10);
        assert_eq!(queue.pop(), Some((a, 0)));
        queue.clear(a);
        assert_eq!((queue.pop(), queue.pop()), (Some((b, 10)), None));
        queue.finish(a);
        assert_eq!(queue.pop(), None);
        queue.push(a, 2);
        assert_eq!(queue.pop(), Some((a, 2)), "what is added later is served");
    }

    proptest! {
        /// Compares the queue with a list of all jobs in the order in which they were added.
        #[test]
        fn each_job_runs_once_in_order_within_the_limit(
            max_running in 1_usize..3,
            steps in prop::collection::vec((0_usize..3, 0_usize..4), 0..60),
        ) {
            let mut queue = FairQueue::new(max_running);
            let mut waiting: [VecDeque<usize>; 3] = Default::default();
            let mut running = [0_usize; 3];
            for (number, (project, kind)) in steps.into_iter().enumerate() {
                let id = ids()[project];
                match kind {
                    0 => {
                        queue.push(id, number);
                        waiting[project].push_back(number);
                    }
                    1 => match queue.pop() {
                        Some((served, job)) => {
                            let served = ids().iter().position(|id| *id == served).unwrap();
                            prop_assert_eq!(waiting[served].pop_front(), Some(job));
                            running[served] += 1;
                            prop_assert!(running[served] <= max_running);
                        }
                        None => prop_assert!(
                            (0..3).all(|at| waiting[at].is_empty() || running[at] == max_running)
                        ),
                    },
                    2 if running[project] > 0 => {
                        queue.finish(id);
                        running[project] -= 1;
                    }
                    3 => {
                        queue.clear(id);
                        waiting[project].clear();
                    }
                    _ => {}
                }
                let may_run = |at: usize| !waiting[at].is_empty() && running[at] < max_running;
                prop_assert_eq!(queue.is_empty(), !(0..3).any(may_run));
            }
        }
    }
}
