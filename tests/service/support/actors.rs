//! Who sends requests: users, with a token of their own.

use domain::{Role, UserCommand, UserId};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, Request, TestApp};

/// The password of every user of a test.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The e-mail address of the user of that name.
pub(crate) fn email_of(name: &str) -> String {
    format!("{name}@example.com")
}

/// What the user of that name signs up with.
pub(crate) fn credentials(name: &str) -> Value {
    json!({"email": email_of(name), "username": name, "password": PASSWORD})
}

/// Somebody who has signed up and logged in.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) token: String,
    client: Client,
}

impl User {
    /// The same user, speaking to another node.
    pub(crate) fn at(&self, node: &Client) -> Self {
        Self { client: node.clone(), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Request {
        self.client.request(method, path).bearer(&self.token)
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }

    /// Deactivates somebody, as an administrator does.
    pub(crate) fn deactivate(&self, id: &str) -> Request {
        self.post(&format!("/users/{id}/deactivate")).json(&json!({"reason": "a test asked for it"}))
    }

    /// Lets somebody in again, as an administrator does.
    pub(crate) fn reactivate(&self, id: &str) -> Request {
        self.post(&format!("/users/{id}/reactivate")).json(&json!({"reason": "a test asked for it"}))
    }

    /// What the service knows of the user of that id.
    pub(crate) async fn look_up(&self, id: &str) -> Value {
        self.get(&format!("/users/{id}")).send().await.expect(200).json()
    }

    /// Every event that this user may see, read in pages.
    pub(crate) async fn whole_log(&self) -> Vec<Value> {
        self.paged("/events?", 1000).await
    }

    /// Every event that a query lets through, read in pages as `next` says.
    pub(crate) async fn paged(&self, query: &str, limit: usize) -> Vec<Value> {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let page =
                self.get(&format!("{query}&after={after}&limit={limit}")).send().await.expect(200).json();
            let found = page["events"].as_array().unwrap();
            assert!(found.len() <= limit, "a page of {} events", found.len());
            events.extend(found.iter().cloned());
            let next = page["next"].as_u64().unwrap();
            assert!(next >= after, "`next` falls from {after} to {next}");
            if next >= page["head"].as_u64().unwrap() {
                return events;
            }
            assert!(next > after, "`next` stays at {after} below the head: {page}");
            after = next;
        }
    }
}

impl TestApp {
    /// Signs somebody up and logs them in.
    pub(crate) async fn sign_up(&self, name: &str) -> User {
        let answer = self.post("/auth/signup").json(&credentials(name)).send().await.expect(201).json();
        let id = answer["id"].as_str().unwrap().to_owned();
        let email = email_of(name);
        User { id, token: self.token_of(&email).await, email, client: (**self).clone() }
    }

    /// A token for the user of that e-mail address.
    pub(crate) async fn token_of(&self, email: &str) -> String {
        let answer = self.log_in(email, PASSWORD).await.expect(200).json();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Signs up somebody who holds the role that they are named after.
    pub(crate) async fn user_with(&self, role: Role) -> User {
        let user = self.sign_up(role.as_str()).await;
        self.grant(&user, role).await;
        user
    }

    /// Signs up somebody who holds the role `admin`.
    pub(crate) async fn admin(&self) -> User {
        self.user_with(Role::Admin).await
    }

    /// Gives a role, as the command line does.
    pub(crate) async fn grant(&self, user: &User, role: Role) {
        self.command(&user.id, UserCommand::GrantRole { role }).await;
    }

    /// Carries out a command as an operator does, and waits until the rows show it.
    pub(crate) async fn command(&self, id: &str, command: UserCommand) {
        let context = aegis::command::CommandContext::new("operator:test", "test");
        let services = self.services();
        let done =
            services.users.execute(&context, UserId::parse(id).unwrap(), &command, None).await.unwrap();
        if let Some(position) = done.position {
            services.user_rows.wait_until_visible(position).await;
        }
    }
}
