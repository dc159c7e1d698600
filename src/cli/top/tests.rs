//! Tests of state and drawing together: what keys do, and what the screen shows in each size.

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::{Value, json};

use crate::cli::top::draw::{Palette, draw, next_tick};
use crate::cli::top::input::{Input, Key, TextKind, TopRequest};
use crate::cli::top::state::TopState;
use crate::core::path::is_unprintable;
use crate::core::time::Timestamp;
use crate::wire::artifacts::ArtifactList;
use crate::wire::status::Status;

const SIZES: [(u16, u16); 3] = [(120, 40), (80, 24), (40, 12)];

fn digest(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// Returns the overview of a feature; `changes` replaces fields.
fn overview(slug: &str, changes: &Value) -> Value {
    let mut overview = json!({
        "feature_slug": slug, "completeness_status": "complete",
        "parity_hash_sha256": digest('1'), "tree_hash_sha256": digest('2'),
        "artifact_counts": {"total": 4, "required": 3, "required_present": 3, "required_missing": 0,
            "optional": 1, "optional_present": 1},
        "missing_required_count": 0, "last_scanned_at": null, "project": "bakery",
        "dossier_updated_at": "2026-02-21T09:59:30.000Z", "mission": "software-dev",
        "mission_run_id": "none", "manifest_version": "1", "step": "plan", "step_source": "files",
        "step_error": null, "watch": "live", "racy": 0, "meta_error": null, "baseline": null,
        "progress": {"done": 3, "total": 12, "in_progress": 1, "optional_open": 0},
        "drift": {"state": "in_parity", "severity": null, "missing_in_local": [],
            "missing_in_baseline": [], "changed": [], "churn": []},
    });
    for (name, value) in changes.as_object().unwrap() {
        overview[name] = value.clone();
    }
    overview
}

fn status(features: &[Value]) -> Input {
    let value = json!({
        "version": "0.1.0", "pid": 1, "started_at": "2026-02-21T09:00:00Z", "uptime_s": 1,
        "instance": "i", "seq": 7, "store": {"path": "/s", "state": "ok", "detail": null},
        "projects": [{
            "project": "bakery", "root": "/bakery", "root_id": "0123", "project_uuid": "u", "node_id": "n",
            "watch": {"state": "live", "watched": 1, "total": 1, "detail": null},
            "manifest_errors": [], "manifest_warnings": [], "skipped": [], "features": features,
        }],
    });
    let status: Status<'static> = serde_json::from_value(value).unwrap();
    Input::Status(Box::new(status))
}

fn drift(state: &str, severity: &str, changed: &[&str]) -> Value {
    json!({"state": state, "severity": severity, "missing_in_local": [], "missing_in_baseline": [],
        "changed": changed, "churn": []})
}

/// Returns features in each state, by slug.
fn features() -> Vec<Value> {
    let missing = json!({"total": 4, "required": 3, "required_present": 1, "required_missing": 2,
        "optional": 1, "optional_present": 1});
    vec![
        overview("001-order-page", &json!({"dossier_updated_at": "2026-02-21T08:00:00Z"})),
        overview(
            "002-a-feature-with-a-name-that-is-longer-than-any-column",
            &json!({"completeness_status": "incomplete", "artifact_counts": missing,
                "missing_required_count": 2, "deleted_required": ["workflow.plan.md"]}),
        ),
        overview(
            "003-\u{65e5}\u{672c}\u{8a9e}\u{1b}[31m",
            &json!({"drift": drift("drifted", "error", &["input.spec.md"]), "progress": null,
                "dossier_updated_at": "2026-02-19T09:00:00Z"}),
        ),
        overview(
            "004-hidden",
            &json!({"completeness_status": "unknown", "watch": "unreadable",
            "drift": {"state": null, "severity": null, "missing_in_local": [],
                "missing_in_baseline": [], "changed": [], "churn": []}}),
        ),
        overview(
            "005-new",
            &json!({"watch": "settling",
            "drift": drift("no_baseline", "info", &[])}),
        ),
    ]
}

fn artifacts() -> ArtifactList<'static> {
    let item = |key: &str, path: &str, reason: Value, status: &str| {
        json!({"artifact_key": key, "artifact_class": "input", "relative_path": path, "size_bytes": 1234,
            "wp_id": null, "step_id": null, "is_present": reason.is_null(), "error_reason": reason,
            "required_status": status, "media_type_hint": "markdown", "error_detail": null})
    };
    let filters = json!({"class": null, "wp_id": null, "step_id": null, "required_only": false});
    let value = json!({"total_count": 3, "filtered_count": 3, "filters_applied": filters, "tombstones": 1,
    "artifacts": [
        item("input.spec.md", "spec.md", Value::Null, "required"),
        item("other.x", "notes/a b\u{1b}c.md", Value::Null, "optional"),
        item("workflow.plan.md", "plan.md", json!("deleted_after_scan"), "required"),
    ]});
    serde_json::from_value(value).unwrap()
}

fn now() -> Timestamp {
    Timestamp::parse("2026-02-21T10:00:00Z").unwrap()
}

fn screen(size: (u16, u16)) -> TopState {
    let mut state = TopState::new(size, None, now());
    state.handle(status(&features()));
    let event = |number: usize| {
        format!("10:00:0{number}Z  001-order-page  \u{1b}[36mmodified\u{1b}[0m spec.md")
    };
    state.handle(Input::Events((0..3).map(event).collect()));
    state
}

fn press(state: &mut TopState, keys: &[Key]) -> Vec<TopRequest> {
    keys.iter().flat_map(|key| state.handle(Input::Key(*key))).collect()
}

fn buffer(state: &TopState, palette: Palette) -> Buffer {
    let area = Rect::new(0, 0, state.size.0, state.size.1);
    let mut buffer = Buffer::empty(area);
    draw(state, palette, area, &mut buffer);
    buffer
}

fn shown(state: &TopState) -> String {
    let buffer = buffer(state, Palette::Plain);
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let (mut line, mut x) = (String::new(), 0);
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character has two cells.
            x += u16::try_from(ratatui::text::Span::raw(symbol).width().max(1)).unwrap();
        }
        text.push_str(&format!("{}|\n", line.trim_end()));
    }
    text
}

#[test]
fn screens_in_each_size() {
    for size in SIZES {
        let name = |page: &str| format!("{page}_{}x{}", size.0, size.1);
        let mut state = screen(size);
        insta::assert_snapshot!(name("list"), shown(&state));
        press(&mut state, &[Key::Char('a')]);
        insta::assert_snapshot!(name("question"), shown(&state));
        press(&mut state, &[Key::Char('n'), Key::Down, Key::Enter]);
        let id = match &press(&mut state, &[Key::Esc, Key::Enter])[..] {
            [TopRequest::Artifacts(id)] => id.clone(),
            other => panic!("{other:?}"),
        };
        state.handle(Input::Artifacts(id, Ok(artifacts())));
        insta::assert_snapshot!(name("feature"), shown(&state));
        let requests = press(&mut state, &[Key::Char('d')]);
        let [TopRequest::Text(id)] = &requests[..] else { panic!("{requests:?}") };
        let diff = "changed spec.md +1 -1\n\u{1b}[31m-old text that is longer than forty columns\u{1b}[0m\n+new";
        state.handle(Input::Text(id.clone(), Ok(diff.to_owned())));
        insta::assert_snapshot!(name("diff"), shown(&state));
        press(&mut state, &[Key::Esc, Key::Char('?')]);
        insta::assert_snapshot!(name("help"), shown(&state));
        press(&mut state, &[Key::Esc, Key::Esc]);
        state.handle(Input::Disconnected);
        insta::assert_snapshot!(name("not_live"), shown(&state));
    }
}

#[test]
fn worst_features_are_first_and_every_order_is_one_key_away() {
    let slugs = |state: &TopState| -> String {
        let Some(status) = &state.status else { return String::new() };
        let slug = |row: &crate::cli::top::rows::Row| {
            row.find(status).unwrap().1.feature_slug[..3].to_owned()
        };
        state.rows.iter().map(slug).collect::<Vec<_>>().join(" ")
    };
    let mut state = screen((80, 24));
    for (name, expected) in [
        ("trouble", "004 002 003 005 001"),
        ("recent", "002 004 005 001 003"),
        ("progress", "001 002 004 005 003"),
        ("name", "001 002 003 004 005"),
    ] {
        assert_eq!((state.order.name(), &*slugs(&state)), (name, expected));
        press(&mut state, &[Key::Char('s')]);
    }
    press(&mut state, &[Key::Char('/'), Key::Char('O'), Key::Char('r'), Key::Char('q')]);
    assert_eq!(slugs(&state), "");
    assert!(shown(&state).contains(" 0 of 5|"), "{}", shown(&state));
    press(&mut state, &[Key::Ctrl('u')]);
    assert_eq!((slugs(&state).len(), &*state.filter), (19, ""));
    let typed = [Key::Char('O'), Key::Char('r'), Key::Char('x')];
    press(&mut state, &typed);
    press(&mut state, &[Key::Backspace, Key::Enter]);
    assert_eq!((slugs(&state), &*state.filter), ("001".to_owned(), "Or"));
    assert!(shown(&state).contains("/Or (1 of 5)"), "{}", shown(&state));
    assert_eq!(press(&mut state, &[Key::Esc]), []);
    assert_eq!(slugs(&state), "004 002 003 005 001");
    assert_eq!(press(&mut state, &[Key::Esc]), [TopRequest::Quit]);
}

#[test]
fn selection_follows_its_feature_when_the_order_changes() {
    let mut state = screen((80, 24));
    press(&mut state, &[Key::Down]);
    let selected = |state: &TopState| state.feature().unwrap().1.feature_slug.to_string();
    let before = selected(&state);
    let mut changed = features();
    changed[4] = overview("005-new", &json!({"watch": "unreadable"}));
    state.handle(status(&changed));
    assert_eq!((selected(&state), state.cursor.at), (before, 2));
}

#[test]
fn accept_asks_and_sends_the_tree_that_was_looked_at() {
    let mut state = screen((80, 24));
    let accepted = |requests: Vec<TopRequest>| match &requests[..] {
        [TopRequest::Accept(id, tree)] => (id.slug[..3].to_owned(), tree.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(press(&mut state, &[Key::Char('a'), Key::Enter]), []);
    let requests = press(&mut state, &[Key::Char('a'), Key::Char('y')]);
    assert_eq!(accepted(requests), ("004".to_owned(), digest('2')));
    // The question is about the state at its time, whatever happens until the answer.
    press(&mut state, &[Key::Down, Key::Char('a')]);
    let mut changed = features();
    changed[1] = overview(
        "002-a-feature-with-a-name-that-is-longer-than-any-column",
        &json!({"completeness_status": "incomplete", "tree_hash_sha256": digest('3')}),
    );
    state.handle(status(&changed));
    let requests = press(&mut state, &[Key::Char('y')]);
    assert_eq!(accepted(requests), ("002".to_owned(), digest('2')));
    state.handle(Input::Done(Err("the state changed".to_owned())));
    assert!(shown(&state).contains("refused: the state changed"));
    state.handle(Input::Disconnected);
    assert_eq!(press(&mut state, &[Key::Char('a'), Key::Char('y')]), []);
}

#[test]
fn restore_replaces_only_what_is_present() {
    let mut state = screen((80, 24));
    let requests = press(&mut state, &[Key::Enter]);
    let [TopRequest::Artifacts(id)] = &requests[..] else { panic!("{requests:?}") };
    state.handle(Input::Artifacts(id.clone(), Ok(artifacts())));
    for (moves, key, is_present) in
        [(0, "workflow.plan.md", false), (1, "input.spec.md", true), (1, "other.x", true)]
    {
        press(&mut state, &vec![Key::Down; moves]);
        let requests = press(&mut state, &[Key::Char('r'), Key::Char('y')]);
        let [TopRequest::Restore(asked)] = &requests[..] else { panic!("{requests:?}") };
        assert_eq!((&*asked.artifact_key, asked.is_present), (key, is_present));
        assert_eq!(asked.tree.to_string(), digest('2'));
    }
    press(&mut state, &[Key::Home, Key::Enter]);
    assert!(shown(&state).contains("this artifact was deleted; r restores it"));
    let requests = press(&mut state, &[Key::End, Key::Enter]);
    let [TopRequest::Text(text)] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(text.kind, TextKind::Content("other.x".to_owned()));
}

#[test]
fn a_feature_without_a_baseline_has_no_difference() {
    let mut state = screen((80, 24));
    press(&mut state, &[Key::Char('/'), Key::Char('5'), Key::Enter]);
    assert_eq!(press(&mut state, &[Key::Char('d')]), []);
    assert!(state.pages.is_empty());
    assert!(shown(&state).contains("no baseline to compare with; a accepts the present state"));
}

#[test]
fn page_is_requested_again_only_when_its_feature_changed() {
    let mut state = screen((80, 24));
    press(&mut state, &[Key::Enter, Key::Char('d')]);
    assert_eq!(state.handle(status(&features())), []);
    let mut changed = features();
    changed[3] =
        overview("004-hidden", &json!({"watch": "unreadable", "tree_hash_sha256": digest('3')}));
    let requests = state.handle(status(&changed));
    assert!(
        matches!(&requests[..], [TopRequest::Artifacts(_), TopRequest::Text(_)]),
        "{requests:?}"
    );
}

#[test]
fn tick_is_due_only_while_an_age_is_visible() {
    let mut state = screen((80, 24));
    assert_eq!(next_tick(&state), Some(1_000));
    press(&mut state, &[Key::Enter]);
    assert_eq!(next_tick(&state), None);
    // Without the column nothing changes either.
    assert_eq!(next_tick(&screen((40, 12))), None);
}

#[test]
fn colours_are_left_out_if_they_are_not_wanted() {
    let state = screen((80, 24));
    let has_colour = |palette| {
        let buffer = buffer(&state, palette);
        buffer.content.iter().any(|cell| cell.fg != ratatui::style::Color::Reset)
    };
    assert!(has_colour(Palette::Colored) && !has_colour(Palette::Plain));
}

fn any_input() -> impl Strategy<Value = Input> {
    let special = prop::sample::select(vec![
        Key::Up,
        Key::Down,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
        Key::Enter,
        Key::Esc,
        Key::Backspace,
        Key::Ctrl('l'),
    ]);
    let letter = prop::sample::select("adgGjkqrsy/? \u{65e5}".chars().collect::<Vec<_>>());
    prop_oneof![
        4 => special.prop_map(Input::Key),
        6 => letter.prop_map(|letter| Input::Key(Key::Char(letter))),
        1 => (0_u16..140, 0_u16..50).prop_map(|(columns, rows)| Input::Resize(columns, rows)),
        1 => (0_usize..6).prop_map(|count| status(&features()[..count.min(5)])),
        1 => (0_u16..50).prop_map(Input::Click),
        1 => Just(()).prop_map(|()| Input::Disconnected),
        1 => Just(()).prop_map(|()| Input::Reconnected),
    ]
}

proptest! {
    #[test]
    fn any_sequence_of_inputs_keeps_the_selection_visible_and_the_screen_printable(
        inputs in prop::collection::vec(any_input(), 0..40),
    ) {
        let mut state = screen((80, 24));
        for input in inputs {
            for request in state.handle(input) {
                match request {
                    TopRequest::Artifacts(id) => drop(state.handle(Input::Artifacts(id, Ok(artifacts())))),
                    TopRequest::Text(id) => {
                        drop(state.handle(Input::Text(id, Ok("a\nlong line\n".repeat(30)))));
                    }
                    _ => {}
                }
            }
            let cursor = state.cursor;
            prop_assert!(cursor.offset <= cursor.at, "{cursor:?}");
            prop_assert!(cursor.at < state.rows.len().max(1), "{cursor:?}");
            let buffer = buffer(&state, Palette::Colored);
            for cell in &buffer.content {
                prop_assert!(!cell.symbol().contains(is_unprintable), "{:?}", cell.symbol());
            }
        }
    }
}
