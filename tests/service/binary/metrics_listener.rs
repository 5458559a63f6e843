//! `AEGIS_METRICS_LISTEN`, and what the process does to protect itself.

use reqwest::Method;
use testkit::reserve_port;

use crate::support::{Client, Deployment, Store, metric, on_one_store};

mod embedded {
    use super::{metrics_have_a_listener_of_their_own, on_one_store, process_has_no_core_dumps};

    on_one_store! { sqlite:
        metrics_have_a_listener_of_their_own
        process_has_no_core_dumps
    }
}

async fn metrics_have_a_listener_of_their_own() {
    let store = Store::sqlite();
    let address = format!("127.0.0.1:{}", reserve_port());
    let mut service = Deployment::of(store).with("AEGIS_METRICS_LISTEN", &address).serve().await;
    let listener = Client::new(address);
    let at = async |client: &Client, path| client.request_at_root(Method::GET, path).send().await;
    let answer = at(&listener, "/metrics").await.expect(200);
    assert!(metric(&answer.text(), "aegis_http_connections").is_some_and(|open| open >= 1.0));
    let named = listener.request_at_root(Method::GET, "/metrics").header("Host", "aegis.internal");
    named.header("X-Forwarded-For", "192.0.2.1").send().await.expect(200);
    for path in ["/", "/api/v1/health", "/docs", "/api/v1/metrics"] {
        assert_eq!(at(&listener, path).await.status(), 404, "{path}");
    }
    for path in ["/metrics", "/api/v1/metrics"] {
        assert_eq!(at(service.client(), path).await.code(401), "not_authenticated");
    }
    assert!(service.terminate().await.success(), "{}", service.output());
}

async fn process_has_no_core_dumps() {
    let store = Store::sqlite();
    let mut service = Deployment::of(store).serve().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.pid().as_raw_pid())).unwrap();
    let words = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words("Max core file size")[..2], ["0", "0"]);
    let files = words("Max open files");
    assert_eq!(files[0], files[1], "the limit is raised to the hard limit");
    assert!(service.terminate().await.success());
}
