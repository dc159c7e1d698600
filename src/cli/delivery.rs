//! `dossierd delivery list|retry|drop`: how events are delivered, and what was refused for good.

use std::io::Write as _;

use super::args::{DeliveryArgs, DeliveryCommand, ProjectListArgs, SetAsideArgs};
use super::exit::Exit;
use super::link::Link;
use super::{out, table};
use crate::client::Target;
use crate::core::path::printable;
use crate::core::time::Timestamp;
use crate::wire::delivery::{DeliveryList, SetAsideAnswer, SetAsideRequest, Sink, SinkState};

pub(super) fn run(args: &DeliveryArgs) -> anyhow::Result<Exit> {
    match &args.command {
        DeliveryCommand::List(args) => list(args),
        DeliveryCommand::Retry(args) => {
            change(args, "/api/delivery/retry", "will be delivered once more")
        }
        DeliveryCommand::Drop(args) => change(args, "/api/delivery/drop", "forgotten"),
    }
}

fn list(args: &ProjectListArgs) -> anyhow::Result<Exit> {
    let answer = Link::open(&args.socket)?.get(&Target::new("/api/delivery"))?;
    if args.json {
        out::print_body(&answer.body)?;
        return Ok(Exit::Done);
    }
    let list: DeliveryList<'_> = answer.read()?;
    let mut out = out::people();
    out.write_all(text(&list).as_bytes())?;
    out.flush()?;
    Ok(Exit::Done)
}

fn change(args: &SetAsideArgs, address: &str, done: &str) -> anyhow::Result<Exit> {
    let ids = (!args.all).then(|| args.events.clone());
    let body = serde_json::to_vec(&SetAsideRequest { ids, all: args.all })?;
    let answer = Link::open(&args.list.socket)?.post(&Target::new(address), body)?;
    if args.list.json {
        out::print_body(&answer.body)?;
        return Ok(Exit::Done);
    }
    let SetAsideAnswer { events } = answer.read()?;
    let what = if events == 1 { "event" } else { "events" };
    out::note(&format!("{events} {what} {done}"));
    Ok(Exit::Done)
}

fn text(list: &DeliveryList<'_>) -> String {
    if list.sinks.is_empty() && list.set_aside.is_empty() {
        return "events are delivered nowhere; name a `webhook` in the configuration\n".to_owned();
    }
    let mut text: String = list.sinks.iter().map(sink).collect();
    if !list.set_aside.is_empty() {
        let mut rows =
            table::table(&["EVENT", "SEQ", "FEATURE", "TYPE", "TRIES", "REFUSED", "WHY"]);
        for event in &list.set_aside {
            let kind = event.event_type.trim_start_matches("mission_dossier_");
            let again = if event.retrying { " (tried again)" } else { "" };
            rows.add_row([
                printable(&event.event_id),
                event.seq.to_string().into(),
                printable(&event.feature_slug),
                printable(kind),
                event.tries.to_string().into(),
                event.refused_at.to_string().into(),
                format!("{}{again}", printable(&event.error)).into(),
            ]);
        }
        text.push('\n');
        text.push_str(&table::text(rows));
    }
    text
}

fn sink(sink: &Sink<'_>) -> String {
    let state = match sink.state {
        SinkState::Ok => "ok",
        SinkState::Retrying => "retrying",
        SinkState::SetAside => "set aside",
    };
    let at = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let mut text = format!("{} to {}: {state}\n", printable(&sink.sink), printable(&sink.url));
    let mut line = |name: &str, value: String| {
        if !value.is_empty() && value != "0" {
            text.push_str(&format!("  {name}: {value}\n"));
        }
    };
    line("undelivered", sink.lag.to_string());
    line("oldest", at(sink.oldest_undelivered_at));
    line("last error", sink.last_error.as_deref().map(printable).unwrap_or_default().to_string());
    line("next try", at(sink.next_try_at));
    line("set aside", sink.set_aside.to_string());
    line("dropped by the journal's retention", sink.dropped_by_retention.to_string());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::delivery::SetAsideEvent;

    #[test]
    fn it_says_what_a_person_has_to_know() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let sink = Sink {
            sink: "webhook".into(),
            url: "https://example.org/…".into(),
            cursor: 5,
            lag: 3,
            oldest_undelivered_at: at,
            state: SinkState::Retrying,
            last_error: Some("answered 500 \u{1b}[31m".into()),
            next_try_at: at,
            set_aside: 1,
            dropped_by_retention: 2,
        };
        let event = SetAsideEvent {
            sink: "webhook".into(),
            event_id: "01HF7YAT00CHF7R06RJVWGENCH".into(),
            seq: 4,
            event_type: "mission_dossier_artifact_indexed".into(),
            root_id: "00ff".into(),
            feature_slug: "001-a".into(),
            tries: 5,
            refused_at: at.unwrap(),
            error: "answered 400 Bad Request".into(),
            retrying: true,
        };
        let list = DeliveryList { sinks: vec![sink], set_aside: vec![event] };
        let shown = anstream::adapter::strip_str(&text(&list)).to_string();
        insta::assert_snapshot!(shown, @r"
        webhook to https://example.org/…: retrying
          undelivered: 3
          oldest: 2023-11-14T22:13:20.000Z
          last error: answered 500 \u{1b}[31m
          next try: 2023-11-14T22:13:20.000Z
          set aside: 1
          dropped by the journal's retention: 2

        EVENT                       SEQ  FEATURE  TYPE              TRIES  REFUSED                   WHY
        01HF7YAT00CHF7R06RJVWGENCH  4    001-a    artifact_indexed  5      2023-11-14T22:13:20.000Z  answered 400 Bad Request (tried again)
        ");
        let none = DeliveryList { sinks: Vec::new(), set_aside: Vec::new() };
        assert!(text(&none).starts_with("events are delivered nowhere"));
    }
}
