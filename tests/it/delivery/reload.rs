//! A webhook that comes, changes and goes while the daemon runs.

use crate::delivery::support::{
    CANARY, Mood, Receiver, change, delivered, journal, receiver, sink,
};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

const OTHER: &str = "whsec_OTHEROTHEROTHEROTHEROTHEROTHEROTHERO";

fn origin(receiver: &Receiver) -> String {
    format!("http://{}", receiver.address)
}

fn sinks(daemon: &Daemon) -> usize {
    daemon.get_json("/api/status")["delivery"].as_array().unwrap().len()
}

#[test]
fn a_webhook_comes_and_goes() {
    let (first, second) = (receiver(), receiver());
    let project = Project::complete();
    project.secret(CANARY);
    let daemon = project.start_daemon();
    change(&project, "before there is one");
    daemon.status();
    assert_eq!(sinks(&daemon), 0);
    let none = project.run_client(&["delivery", "list"]).assert_success().stdout;
    assert!(none.starts_with("events are delivered nowhere"), "{none}");

    project.reconfigure(&project.webhook_text(&origin(&first), ""));
    wait_for("a sink", || (sinks(&daemon) == 1).then_some(()));
    let before = delivered(&daemon, &first).len();

    // A broken edit changes nothing.
    project.reconfigure("webhook: {url: 'http://example.org/'}\n");
    wait_for("it is said", || {
        (daemon.get_json("/api/status")["config"]["state"] == "broken").then_some(())
    });
    change(&project, "while it is broken");
    assert!(delivered(&daemon, &first).len() > before);
    let before = first.kept().events.len();

    // Another receiver goes on where the one before it was.
    project.reconfigure(&project.webhook_text(&origin(&second), "  batch: 3\n"));
    wait_for("the other one", || {
        let url = sink(&daemon)["url"].as_str()?.to_owned();
        url.contains(&second.address.to_string()).then_some(())
    });
    change(&project, "for the second");
    daemon.status();
    let all = || {
        wait_for("all is delivered", || {
            let status = daemon.get_json("/api/status");
            (status["delivery"][0]["cursor"] == status["seq"]).then_some(())
        });
        let kept = second.kept();
        (before + kept.events.len(), kept.again)
    };
    assert_eq!(all(), (journal(&daemon).len(), 0));
    assert_eq!(first.kept().events.len(), before);

    // Away with events that are set aside, and with some that wait.
    second.turn(Mood::Refuse(FEATURE.to_owned()));
    change(&project, "some is refused");
    wait_for("it is set aside", || {
        let sink = sink(&daemon);
        (sink["set_aside"].as_u64()? > 0 && sink["lag"] == 0).then_some(())
    });
    let refused = sink(&daemon)["set_aside"].as_u64().unwrap();
    project.reconfigure("projects: []\n");
    wait_for("no sink", || (sinks(&daemon) == 0).then_some(()));
    let requests = second.kept().requests;
    change(&project, "while there is none");
    daemon.status();
    let list = daemon.get_json("/api/delivery");
    assert_eq!(list["set_aside"].as_array().unwrap().len() as u64, refused, "{list:#}");
    second.turn(Mood::Good);
    assert_eq!(second.kept().requests, requests);
    project.reconfigure(&project.webhook_text(&origin(&second), ""));
    wait_for("a sink again", || (sinks(&daemon) == 1).then_some(()));
    let (had, again) = all();
    assert_eq!((had as u64 + refused, again), (journal(&daemon).len() as u64, 0));
    project.run_client(&["delivery", "retry", "--all"]).assert_success();
    wait_for("nothing is set aside", || (sink(&daemon)["set_aside"] == 0).then_some(()));
    assert_eq!(all(), (journal(&daemon).len(), 0));
    daemon.stop();
}

#[test]
fn a_secret_is_exchanged_without_a_request_that_is_refused() {
    let receiver = receiver();
    let project = Project::complete().webhook(&receiver, "");
    let daemon = project.start_daemon();
    delivered(&daemon, &receiver);
    // Both, then the receiver knows the new one only, then so does the sender.
    let signed_by = |secrets: &str, count: usize| {
        project.secret(secrets);
        let mut round = 0;
        wait_for("signatures by all of them", || {
            round += 1;
            change(&project, &format!("{secrets} {round}"));
            daemon.status();
            (receiver.kept().signatures.split(' ').count() == count).then_some(())
        });
        delivered(&daemon, &receiver);
    };
    signed_by(&format!("{CANARY}\n{OTHER}\n"), 2);
    receiver.trust(&[OTHER]).unwrap();
    signed_by(OTHER, 1);
    assert!(!daemon.log().contains("OTHEROTHER"), "{}", daemon.log());
    daemon.stop();
}
