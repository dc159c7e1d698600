//! Listener of the Unix socket: its routes, and the checks that clients are the same user and no
//! web page.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::api::dashboard::control;
use crate::api::router::{Route, build_router, shared_routes};
use crate::api::server::http::Server;
use crate::api::server::listener_log::ListenerLog;
use crate::api::server::peer::{ApiClient, is_own_user};
use crate::api::state::ApiState;
use crate::wire::hint::HintCode;
use crate::wire::problem::{Problem, ProblemCode};

/// Maximum number of connections. Beyond it the connection that has been idle the longest is
/// closed; if none is idle, the new one waits.
pub(crate) const MAX_CONNECTIONS: usize = 1_536;

/// Serves the API until `stop` turns true, then drops all connections.
pub async fn serve(listener: Listener, api: Arc<ApiState>, stop: watch::Receiver<bool>) {
    let metrics = Arc::clone(&api.http_metrics);
    let routes = routes();
    let paths = routes.iter().map(|route| route.path).collect();
    let service = refuse_pages(build_router(api, routes));
    let server = Server::new(MAX_CONNECTIONS, metrics, new_log(), paths, service);
    accept_connections(&listener, &server, stop).await;
}

/// Returns the log of a listener at a Unix socket.
pub(crate) fn new_log() -> Arc<ListenerLog> {
    Arc::new(ListenerLog::new("socket"))
}

/// Serves the connections of the same user until `stop` turns true, then drops all connections.
pub(crate) async fn accept_connections(
    listener: &Listener,
    server: &Server,
    mut stop: watch::Receiver<bool>,
) {
    let connection_stop = stop.clone();
    let admit = |stream| is_own_user(&stream).then_some(stream);
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = server.accept(listener.accept(), admit) => accepted,
        };
        match accepted {
            Ok(None) => {}
            Ok(Some((stream, permit))) => {
                let client = ApiClient::of_unix(&stream);
                let stream = vectored(stream);
                server.serve_connection(client, stream, permit, connection_stop.clone());
            }
            Err(error) => server.backoff_after_accept_error(&error).await,
        }
    }
}

/// Returns the stream without its wrapper, which writes one buffer at a time: hyper would copy what is not
/// read yet, and the copy would be in no account of memory.
fn vectored(stream: Stream) -> UnixStream {
    let Stream::UdSocket(stream) = stream;
    stream.into()
}

/// Has requests refused that a web page has caused. No browser connects to a Unix socket: something
/// forwards them, such as a proxy.
pub(crate) fn refuse_pages(router: Router) -> Router {
    router.layer(from_fn(async |request: Request, next: Next| -> Response {
        let headers = request.headers();
        if headers.contains_key(header::ORIGIN) || headers.contains_key(header::REFERER) {
            let detail = "`Origin` or `Referer`: the socket serves no web pages";
            return Problem::new(ProblemCode::Forbidden, detail, HintCode::WrongOrigin)
                .into_response();
        }
        next.run(request).await
    }))
}

/// Returns all routes of the socket.
fn routes() -> Vec<Route> {
    shared_routes().into_iter().chain(control::routes()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api::handlers::openapi::render_document;

    #[tokio::test]
    async fn accepted_streams_support_vectored_writes() {
        use tokio::io::AsyncWrite as _;

        let (stream, _client) = UnixStream::pair().unwrap();
        let stream = Stream::UdSocket(stream.into());
        assert!(
            !stream.is_write_vectored(),
            "the wrapper forwards vectored writes now; remove `vectored`"
        );
        assert!(vectored(stream).is_write_vectored());
    }

    fn document() -> Value {
        serde_json::from_slice(&render_document().unwrap()).unwrap()
    }

    #[test]
    fn openapi_document_lists_the_paths_of_the_router() {
        let document = document();
        let documented: BTreeSet<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let served: BTreeSet<&str> = routes().iter().map(|route| route.path).collect();
        assert_eq!(documented, served);
    }

    #[test]
    fn openapi_document_lists_the_query_parameters_that_the_router_accepts() {
        let document = document();
        for route in routes() {
            for (method, accepted) in &route.parameters {
                let method = method.as_str().to_lowercase();
                let operation = &document["paths"][route.path][&method];
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let documented: BTreeSet<&str> = parameters
                    .map(|parameter| match parameter["$ref"].as_str() {
                        Some(reference) => document.pointer(&reference[1..]).unwrap(),
                        None => parameter,
                    })
                    .filter(|parameter| parameter["in"] == "query")
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                let accepted: BTreeSet<&str> = accepted.iter().copied().collect();
                assert_eq!(documented, accepted, "{method} {}", route.path);
                assert!(operation["responses"]["400"].is_object(), "{method} {}", route.path);
            }
        }
    }
}
