//! redis-rs, multiplexed: one connection for what need not have its own. SETs are concurrent calls, as its way is. A multiplexed
//! connection does not come back by itself. Its time-out of 500 ms is shorter than a pause may be; it is set to more than the hold.

mod report;

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncCommands, AsyncConnectionConfig, AsyncIter, Client, ErrorKind, RedisResult, ScanOptions, Script,
};
use report::{ADD, WRITERS, guarded, over, say, verdict};

async fn connect(client: &Client, response_timeout: Option<Duration>) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(response_timeout);
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn transactions(mut connection: MultiplexedConnection) -> RedisResult<()> {
    while !over() {
        let reply: RedisResult<(u64, u64)> =
            redis::pipe().atomic().incr("counter", 1).get("counter").query_async(&mut connection).await;
        let letter = match reply {
            // What EXEC was answered with, when that was an error, is not told.
            Err(fault) if fault.kind() == ErrorKind::UnexpectedReturnType => 'a',
            reply => verdict(reply)?,
        };
        say(format!("transaction {letter}"));
    }
    Ok(())
}

async fn subscriber(client: &Client) -> RedisResult<()> {
    let mut subscription = client.get_async_pubsub().await?;
    subscription.subscribe("news").await?;
    let mut messages = subscription.on_message();
    while let Some(message) = messages.next().await {
        let text: String = message.get_payload()?;
        say(format!("heard {text}"));
        if text == "after" {
            break;
        }
    }
    Ok(())
}

async fn worker(client: &Client) -> RedisResult<()> {
    let mut connection = connect(client, None).await?;
    let mut job = String::new();
    while job != "last" {
        (_, job) = connection.blpop::<_, (String, String)>("jobs", 0.0).await?;
        say(format!("job {job}"));
    }
    Ok(())
}

async fn play() -> RedisResult<()> {
    let (host, port) = report::begin();
    let client = Client::open((host, port))?;
    let mut connection = connect(&client, Some(Duration::from_secs(20))).await?;
    say(format!("client redis-rs {}", env!("REDIS_RS")));
    let script = Script::new(ADD);
    let sum: u64 = script.key("script").arg(7).invoke_async(&mut connection).await?;
    say(format!("script {sum}"));
    let writers = (0..WRITERS).map(|number| {
        let connection = connection.clone();
        async move {
            let set = |key: String, value: u32| {
                let mut connection = connection.clone();
                async move { connection.set::<_, _, ()>(key, value).await }
            };
            guarded("writer", report::write(number, set)).await
        }
    });
    tokio::join!(
        futures_util::future::join_all(writers),
        guarded("transactions", transactions(connection.clone())),
        guarded("subscriber", subscriber(&client)),
        guarded("worker", worker(&client)),
    );
    let options = ScanOptions::default().with_pattern("w:0:*").with_count(500);
    let keys: AsyncIter<'_, String> = connection.scan_options(options).await?;
    say(format!("scanned {}", keys.count().await));
    let sum: u64 = script.key("script").arg(7).invoke_async(&mut connection).await?;
    say(format!("script {sum}"));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if !guarded("main", play()).await {
        std::process::exit(1);
    }
}
