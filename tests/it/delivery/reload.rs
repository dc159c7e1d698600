//! Changes of the webhook and its secret while the daemon runs.

use crate::delivery::support::{
    Behaviour, CANARY, Receiver, change_features, journal, sink, start_receiver, wait_for_delivery,
};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

/// A second secret.
const OTHER_SECRET: &str = "whsec_OTHEROTHEROTHEROTHEROTHEROTHEROTHERO";

fn origin(receiver: &Receiver) -> String {
    format!("http://{}", receiver.address)
}

/// Returns the number of webhooks.
fn sink_count(daemon: &Daemon) -> usize {
    daemon.get_json("/api/status")["delivery"].as_array().unwrap().len()
}

#[test]
fn webhook_is_added_changed_and_removed_while_running() {
    let (first, second) = (start_receiver(), start_receiver());
    let project = Project::complete();
    project.write_secret(CANARY);
    let daemon = project.start_daemon();
    change_features(&project, "before the webhook");
    daemon.status();
    assert_eq!(sink_count(&daemon), 0);
    let none = project.run_client(&["delivery", "list"]).assert_success().stdout;
    assert!(none.starts_with("no sinks"), "{none}");

    project.replace_config(&project.webhook_config(&origin(&first), ""));
    wait_for("the webhook to be added", || (sink_count(&daemon) == 1).then_some(()));
    let before = wait_for_delivery(&daemon, &first).len();

    // An invalid configuration changes nothing.
    project.replace_config("webhook: {url: 'http://example.org/'}\n");
    wait_for("the invalid configuration to be reported", || {
        (daemon.get_json("/api/status")["config"]["state"] == "broken").then_some(())
    });
    change_features(&project, "while it is invalid");
    assert!(wait_for_delivery(&daemon, &first).len() > before);
    let before = first.received().events.len();

    // Another receiver continues at the cursor of the first.
    project.replace_config(&project.webhook_config(&origin(&second), "  batch: 3\n"));
    wait_for("the other receiver", || {
        let url = sink(&daemon)["url"].as_str()?.to_owned();
        url.contains(&second.address.to_string()).then_some(())
    });
    change_features(&project, "for the second");
    daemon.status();
    let wait_for_all = || {
        wait_for("all events to be delivered", || {
            let status = daemon.get_json("/api/status");
            (status["delivery"][0]["cursor"] == status["seq"]).then_some(())
        });
        let deliveries = second.received();
        (before + deliveries.events.len(), deliveries.duplicates)
    };
    assert_eq!(wait_for_all(), (journal(&daemon).len(), 0));
    assert_eq!(first.received().events.len(), before);

    // The webhook is removed while there are dead letters and waiting events.
    second.set_behaviour(Behaviour::RejectFeature(FEATURE.to_owned()));
    change_features(&project, "some is rejected");
    wait_for("a dead letter", || {
        let sink = sink(&daemon);
        (sink["dead_letters"].as_u64()? > 0 && sink["lag"] == 0).then_some(())
    });
    let rejected = sink(&daemon)["dead_letters"].as_u64().unwrap();
    project.replace_config("projects: []\n");
    wait_for("the webhook to be removed", || (sink_count(&daemon) == 0).then_some(()));
    let requests = second.received().requests;
    change_features(&project, "without a webhook");
    daemon.status();
    let list = daemon.get_json("/api/delivery");
    assert_eq!(list["dead_letters"].as_array().unwrap().len() as u64, rejected, "{list:#}");
    second.set_behaviour(Behaviour::Accept);
    assert_eq!(second.received().requests, requests);
    project.replace_config(&project.webhook_config(&origin(&second), ""));
    wait_for("the webhook to be added again", || (sink_count(&daemon) == 1).then_some(()));
    let (count, duplicates) = wait_for_all();
    assert_eq!((count as u64 + rejected, duplicates), (journal(&daemon).len() as u64, 0));
    project.run_client(&["delivery", "retry", "--all"]).assert_success();
    wait_for("no dead letters", || (sink(&daemon)["dead_letters"] == 0).then_some(()));
    assert_eq!(wait_for_all(), (journal(&daemon).len(), 0));
    daemon.stop();
}

#[test]
fn secret_rotation_causes_no_rejected_request() {
    let receiver = start_receiver();
    let project = Project::complete().webhook(&receiver, "");
    let daemon = project.start_daemon();
    wait_for_delivery(&daemon, &receiver);
    // The sender signs with both secrets, then the receiver trusts only the new one, then the
    // sender uses only the new one.
    let change_secrets = |secrets: &str, count: usize| {
        project.write_secret(secrets);
        let mut attempt = 0;
        wait_for("signatures with all secrets", || {
            attempt += 1;
            change_features(&project, &format!("{secrets} {attempt}"));
            daemon.status();
            (receiver.received().signatures.split(' ').count() == count).then_some(())
        });
        wait_for_delivery(&daemon, &receiver);
    };
    change_secrets(&format!("{CANARY}\n{OTHER_SECRET}\n"), 2);
    receiver.set_secrets(&[OTHER_SECRET]).unwrap();
    change_secrets(OTHER_SECRET, 1);
    assert!(!daemon.log().contains("OTHEROTHER"), "{}", daemon.log());
    daemon.stop();
}
