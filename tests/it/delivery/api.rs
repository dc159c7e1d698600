//! `/api/delivery`: the responses match the OpenAPI document in every state of delivery.

use crate::api::openapi::{assert_documented, document};
use crate::delivery::support::{Behaviour, change_features, sink, start_receiver};
use crate::support::process::Daemon;
use crate::support::wait::wait_for;
use crate::support::{FEATURE, Project};

/// Sends all requests about delivery, and checks the responses against the OpenAPI document.
fn assert_all_documented(daemon: &Daemon, bodies: &[&str]) {
    let document = document(daemon);
    for address in ["/api/delivery", "/api/delivery?nonsense=1", "/api/status"] {
        let path = address.split('?').next().unwrap();
        assert_documented(&document, "GET", path, &daemon.get(address));
    }
    for address in ["/api/delivery/retry", "/api/delivery/drop"] {
        for body in bodies {
            assert_documented(&document, "POST", address, &daemon.request("POST", address, body));
        }
    }
}

#[test]
fn delivery_responses_match_their_documented_schemas() {
    let large = " ".repeat(70_000);
    let bodies =
        ["", "{}", "[", "{\"ids\": []}", "{\"ids\": [\"none\"]}", "{\"all\": false}", &large];
    let receiver = start_receiver();
    let project = Project::complete();
    let daemon = project.start_daemon();
    assert_all_documented(&daemon, &bodies);
    daemon.stop();

    let project = project.webhook(&receiver, "");
    receiver.set_behaviour(Behaviour::RejectFeature(FEATURE.to_owned()));
    let daemon = project.start_daemon();
    wait_for("dead letters", || (sink(&daemon)["dead_letters"].as_u64()? > 1).then_some(()));
    assert_all_documented(&daemon, &bodies);
    receiver.set_behaviour(Behaviour::Respond(503, String::new()));
    change_features(&project, "more");
    wait_for("a waiting event", || (sink(&daemon)["state"] == "retrying").then_some(()));
    assert_all_documented(&daemon, &bodies);
    let list = daemon.get_json("/api/delivery");
    let id = list["dead_letters"][0]["event_id"].as_str().unwrap();
    assert_all_documented(&daemon, &[&format!("{{\"ids\": [\"{id}\"]}}"), "{\"all\": true}"]);
    assert_eq!(daemon.get_json("/api/delivery")["dead_letters"], serde_json::json!([]));
    daemon.stop();
}
