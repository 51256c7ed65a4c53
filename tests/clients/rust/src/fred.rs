//! fred, one connection for what need not have its own, and no policy to come back by itself. SETs are concurrent calls, as its
//! way is.

mod report;

use fred::prelude::*;
use fred::types::scan::Scanner;
use fred::types::scripts::Script;
use futures_util::StreamExt;
use report::{ADD, WRITERS, guarded, over, say, verdict};

async fn connect(host: &str, port: u16) -> Result<Client, Error> {
    let config = Config { server: ServerConfig::new_centralized(host, port), ..Config::default() };
    let client = Builder::from_config(config).build()?;
    client.init().await?;
    Ok(client)
}

async fn transactions(client: Client) -> Result<(), Error> {
    while !over() {
        let transaction = client.multi();
        let _: () = transaction.incr("counter").await?;
        let _: () = transaction.get("counter").await?;
        let reply: Result<(u64, u64), Error> = transaction.exec(true).await;
        say(format!("transaction {}", verdict(reply)?));
    }
    Ok(())
}

async fn subscriber(client: Client) -> Result<(), Error> {
    let mut messages = client.message_rx();
    client.subscribe("news").await?;
    while let Ok(message) = messages.recv().await {
        let text: String = message.value.convert()?;
        say(format!("heard {text}"));
        if text == "after" {
            break;
        }
    }
    Ok(())
}

async fn worker(client: Client) -> Result<(), Error> {
    let mut job = String::new();
    while job != "last" {
        (_, job) = client.blpop::<(String, String), _>("jobs", 0.0).await?;
        say(format!("job {job}"));
    }
    Ok(())
}

async fn scan(client: &Client) -> Result<usize, Error> {
    let (mut found, mut pages) = (0, Box::pin(client.scan("w:0:*", Some(500), None)));
    while let Some(page) = pages.next().await {
        let mut page = page?;
        found += page.take_results().unwrap_or_default().len();
        page.next();
    }
    Ok(found)
}

async fn play() -> Result<(), Error> {
    let (host, port) = report::begin();
    let client = connect(&host, port).await?;
    say(format!("client fred {}", env!("FRED")));
    let script = Script::from_lua(ADD);
    let sum: u64 = script.evalsha_with_reload(&client, "script", 7).await?;
    say(format!("script {sum}"));
    let writers = (0..WRITERS).map(|number| {
        let client = &client;
        let set = move |key: String, value: u32| client.set::<(), _, _>(key, value, None, None, false);
        guarded("writer", report::write(number, set))
    });
    tokio::join!(
        futures_util::future::join_all(writers),
        guarded("transactions", transactions(client.clone())),
        guarded("subscriber", subscriber(connect(&host, port).await?)),
        guarded("worker", worker(connect(&host, port).await?)),
    );
    say(format!("scanned {}", scan(&client).await?));
    let sum: u64 = script.evalsha_with_reload(&client, "script", 7).await?;
    say(format!("script {sum}"));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if !guarded("main", play()).await {
        std::process::exit(1);
    }
}
