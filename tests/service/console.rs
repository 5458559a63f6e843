//! The web console: its files, its session, and the start page.

use domain::Role;
use reqwest::Method;
use serde_json::json;

use crate::support::{PASSWORD, Request, Response, Store, TestApp, User, on_both_stores};

on_both_stores! {
    session_is_kept_in_a_cookie_that_scripts_cannot_read
    cookie_is_renewed_and_a_void_one_is_removed
    logout_ends_the_session
    requests_of_other_origins_are_refused
    limits_and_errors_of_logins_apply
    console_can_be_turned_off
    administrators_and_auditors_see_the_sessions_of_a_user
    own_roles_are_shown_with_all_fields
}

fn post(app: &TestApp, path: &str) -> Request {
    let request = app.request_at_root(Method::POST, &format!("/console/{path}"));
    request.header("Sec-Fetch-Site", "same-origin")
}

async fn log_in(app: &TestApp, user: &User) -> Response {
    post(app, "login").form(&[("username", &user.email), ("password", PASSWORD)]).send().await
}

/// The pair that a browser would send back.
fn cookie(answer: &Response) -> String {
    answer.header("Set-Cookie").split(';').next().unwrap().to_owned()
}

async fn session_is_kept_in_a_cookie_that_scripts_cannot_read(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let answer = log_in(&app, &ada).await.expect(200);
    let tokens = answer.json();
    assert!(tokens["refresh_token"].is_null() && tokens["refresh_expires_in"].is_null(), "{tokens}");
    assert_eq!(tokens["expires_in"], 900);
    app.me(tokens["access_token"].as_str().unwrap()).await.expect(200);
    let set = answer.header("Set-Cookie");
    let attributes: Vec<_> = set.split("; ").skip(1).collect();
    let max_age: u64 = attributes[1].strip_prefix("Max-Age=").unwrap().parse().unwrap();
    assert!((2_591_000..=2_592_000).contains(&max_age), "30 days, as long as a session stays open: {set}");
    assert_eq!(
        [attributes[0], attributes[2], attributes[3]],
        ["Path=/console", "HttpOnly", "SameSite=Strict"]
    );
    assert_eq!(attributes.len(), 4);
    assert!(set.starts_with("aegis-console="), "{set}");
    assert_eq!(answer.header("Cache-Control"), "no-store");

    // Through a proxy, and under another name than that of this machine, only TLS will do.
    for (name, value) in [("X-Forwarded-For", "198.51.100.7"), ("Host", "id.example.org")] {
        let form = [("username", &*ada.email), ("password", PASSWORD)];
        let answer = post(&app, "login").header(name, value).form(&form).send().await.expect(200);
        let set = answer.header("Set-Cookie");
        assert!(set.starts_with("__Secure-aegis-console=") && set.ends_with("; Secure"), "{set}");
    }
}

async fn cookie_is_renewed_and_a_void_one_is_removed(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let first = cookie(&log_in(&app, &ada).await.expect(200));
    let renewed = post(&app, "token").header("Cookie", &format!("other=1; {first}")).send().await.expect(200);
    assert!(renewed.json()["refresh_token"].is_null());
    let second = cookie(&renewed);
    assert_ne!(first, second);
    // Another tab, at the same time.
    let other_tab = post(&app, "token").header("Cookie", &first).send().await.expect(200);
    assert_eq!(cookie(&other_tab), second);

    assert_eq!(post(&app, "token").send().await.code(401), "not_authenticated");
    let void = post(&app, "token").header("Cookie", "aegis-console=nothing").send().await;
    assert_eq!(void.code(400), "invalid_grant");
    assert!(
        void.header("Set-Cookie").starts_with("aegis-console=; Path=/console; Max-Age=0"),
        "{}",
        void.header("Set-Cookie")
    );
    // The cookie of one name is not accepted under the other.
    let renamed = second.replace("aegis-console", "__Secure-aegis-console");
    post(&app, "token").header("Cookie", &renamed).send().await.expect(401);
}

async fn logout_ends_the_session(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let answer = log_in(&app, &ada).await.expect(200);
    let (access, cookie) = (answer.json()["access_token"].as_str().unwrap().to_owned(), cookie(&answer));
    for _ in 0..2 {
        let ended = post(&app, "logout").header("Cookie", &cookie).send().await.expect(204);
        assert!(ended.header("Set-Cookie").contains("Max-Age=0"));
    }
    app.me(&access).await.expect(403);
    post(&app, "token").header("Cookie", &cookie).send().await.expect(400);
    post(&app, "logout").send().await.expect(204);
}

async fn requests_of_other_origins_are_refused(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let cookie = cookie(&log_in(&app, &ada).await.expect(200));
    let head = app.head().await;
    for path in ["login", "token", "logout"] {
        for headers in [
            &[][..],
            &[("Sec-Fetch-Site", "cross-site")],
            &[("Sec-Fetch-Site", "same-site")],
            &[("Origin", "https://app.example")],
            &[("Origin", "null")],
        ] {
            let request = app.request_at_root(Method::POST, &format!("/console/{path}"));
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            let form = [("username", &*ada.email), ("password", PASSWORD)];
            let refused = request.header("Cookie", &cookie).form(&form).send().await;
            assert_eq!(refused.code(403), "cross_origin", "{path} {headers:?}");
            assert_eq!(refused.header("Set-Cookie"), "");
        }
    }
    assert_eq!(app.head().await, head);
    post(&app, "token").header("Cookie", &cookie).send().await.expect(200);
}

async fn limits_and_errors_of_logins_apply(store: Store) {
    let app = TestApp::start(store).await;
    let ada = app.sign_up("ada").await;
    let wrong = || post(&app, "login").form(&[("username", &ada.email), ("password", "wrong")]).send();
    for _ in 0..10 {
        let refused = wrong().await;
        assert_eq!(refused.code(400), "invalid_credentials");
        assert_eq!(refused.header("Set-Cookie"), "");
    }
    assert_eq!(wrong().await.code(429), "too_many_failures");
    let missing = post(&app, "login").form(&[("username", &ada.email)]).send().await;
    assert_eq!(missing.code(422), "validation_error");
}

async fn console_can_be_turned_off(store: Store) {
    let app = TestApp::start_with(store, |settings| settings.http.console = false).await;
    for path in ["/console", "/console/", "/console/users", "/console/assets/x/main.js"] {
        app.request_at_root(Method::GET, path).send().await.error_body(404);
    }
    for path in ["login", "token", "logout"] {
        post(&app, path).send().await.error_body(404);
    }
    let page =
        app.request_at_root(Method::GET, "/").header("Accept", "text/html").send().await.expect(200).text();
    assert!(!page.contains("/console"), "{page}");
}

#[tokio::test]
async fn page_is_confined_and_served_for_every_path_of_the_console() {
    let app = TestApp::start_with(Store::sqlite(), |settings| {
        settings.http.project_name = "Ada's <b>\"ids\"</b>".to_owned();
    })
    .await;
    for path in ["/console", "/console/", "/console/users/17?as_of=3", "/console/log"] {
        let answer = app.request_at_root(Method::GET, path).send().await.expect(200);
        let policy = answer.header("Content-Security-Policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(answer.header("X-Frame-Options"), "DENY");
        assert_eq!(answer.header("Referrer-Policy"), "no-referrer");
        let page = answer.text();
        assert!(page.contains("Ada's &lt;b&gt;&quot;ids&quot;&lt;/b&gt; console</title>"), "{page}");
        assert!(!page.contains("{{") && !page.contains("style="), "{page}");
        let known = app.request_at_root(Method::GET, path).header("If-None-Match", answer.header("ETag"));
        known.send().await.expect(304);
    }
}

#[tokio::test]
async fn files_are_compressed_and_cached_by_build() {
    let app = TestApp::start(Store::sqlite()).await;
    let page = app.request_at_root(Method::GET, "/console").send().await.expect(200).text();
    let file = page.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let get = |path: &str| app.request_at_root(Method::GET, path);
    let plain = get(file).send().await.expect(200);
    assert_eq!(plain.header("Content-Type"), "text/javascript; charset=utf-8");
    assert_eq!(plain.header("Cache-Control"), "public, max-age=31536000, immutable");
    assert_eq!((plain.header("Content-Encoding"), plain.header("Vary")), ("", "accept-encoding"));
    assert!(plain.text().contains("import"));
    let packed = get(file).header("Accept-Encoding", "br, gzip;q=0.5").send().await.expect(200);
    assert_eq!(packed.header("Content-Encoding"), "gzip");
    assert!(packed.bytes().starts_with(&[0x1f, 0x8b]) && packed.header("ETag") != plain.header("ETag"));
    let refused = get(file).header("Accept-Encoding", "gzip;q=0").send().await.expect(200);
    assert_eq!(refused.bytes(), plain.bytes());
    let known = get(file).header("If-None-Match", plain.header("ETag")).send().await.expect(304);
    assert!(known.bytes().is_empty());
    // A page of another build, during an update.
    let other = get("/console/assets/0000/main.js").send().await.expect(200);
    assert_eq!((other.header("Cache-Control"), other.bytes()), ("no-cache", plain.bytes()));
    for missing in ["nothing.js", "index.html", "package.json", "..%2fCargo.toml"] {
        get(&format!("/console/assets/0000/{missing}")).send().await.expect(404);
    }
}

#[tokio::test]
async fn start_page_is_for_browsers_and_json_for_all_else() {
    let app = TestApp::start(Store::sqlite()).await;
    let root = |accept: &'static str| app.request_at_root(Method::GET, "/").header("Accept", accept).send();
    for accept in ["*/*", "application/json", "application/*", "text/plain", ""] {
        let answer = root(accept).await.expect(200);
        assert_eq!(
            (answer.header("Content-Type"), answer.header("Vary")),
            ("application/json", "accept"),
            "{accept}"
        );
        assert_eq!(answer.json()["openapi"], "/api/v1/openapi.json");
    }
    let page = root("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8").await.expect(200);
    assert_eq!(page.header("Content-Type"), "text/html; charset=utf-8");
    let policy = page.header("Content-Security-Policy");
    assert!(policy.contains("style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    for target in ["href=\"/console\"", "href=\"/docs\"", "href=\"/api/v1/openapi.json\""] {
        assert!(page.text().contains(target), "{target}");
    }
}

async fn administrators_and_auditors_see_the_sessions_of_a_user(store: Store) {
    let app = TestApp::start(store).await;
    let (auditor, ada) = (app.user_with(Role::Auditor).await, app.sign_up("ada").await);
    let path = format!("/users/{}/sessions", ada.id);
    assert_eq!(auditor.get(&path).send().await.expect(200).json(), json!({"sessions": []}));
    let cookie = cookie(&log_in(&app, &ada).await.expect(200));
    let sessions = auditor.get(&path).send().await.expect(200).json();
    let session = &sessions["sessions"][0];
    assert!(session["id"].is_string() && session["address"] == "127.0.0.1", "{sessions}");
    assert!(!sessions.to_string().contains("token"), "{sessions}");
    post(&app, "logout").header("Cookie", &cookie).send().await.expect(204);
    assert_eq!(auditor.get(&path).send().await.expect(200).json(), json!({"sessions": []}));
    assert_eq!(ada.get(&path).send().await.code(403), "forbidden");
    auditor.get("/users/0193e2b4-0000-7000-8000-000000000001/sessions").send().await.error_body(404);
}

async fn own_roles_are_shown_with_all_fields(store: Store) {
    let app = TestApp::start(store).await;
    let operator = app.user_with(Role::Operator).await;
    let me = operator.get("/users/me?fields=all").send().await.expect(200).json();
    assert_eq!((&me["roles"], &me["email_verified"]), (&json!(["operator"]), &json!(false)));
    assert!(operator.get("/users/me").send().await.expect(200).json()["roles"].is_null());
}
