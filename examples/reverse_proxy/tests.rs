use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONNECTION, COOKIE, HOST, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::headers::COOKIE_NAME;
use crate::proxy::Proxy;

/// A body that the test writes while it is read.
struct Pipe(UnboundedReceiver<&'static str>);

impl Body for Pipe {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|chunk| Some(Ok(Frame::data(Bytes::from_static(chunk?.as_bytes())))))
    }
}

/// A service behind the proxy.
async fn upstream<F, A, B>(handle: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<B>> + Send,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handle = handle.clone();
            let service = service_fn(move |request| {
                let answering = handle(request);
                async move { Ok::<_, Infallible>(answering.await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn proxy(upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Proxy::new(upstream.to_string().parse().unwrap());
    tokio::spawn(crate::serve(listener, crate::sessions().unwrap(), proxy));
    address
}

/// Answers with the request's line and headers as the body, and with headers of which some must not be forwarded.
async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let line = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    let headers = request.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
    let text: String = std::iter::once(line).chain(headers).collect();
    Response::builder()
        .header(SET_COOKIE, format!("{COOKIE_NAME}=planted; Path=/"))
        .header(SET_COOKIE, format!("{COOKIE_NAME}x=theirs"))
        .header(CONNECTION, "x-hop")
        .header("x-hop", "1")
        .header("x-end", "1")
        .body(Full::from(text))
        .unwrap()
}

async fn send<B>(to: SocketAddr, request: Request<B>) -> Response<Incoming>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

/// Returns the status and the body.
async fn ask(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path).header(HOST, "shop.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = send(to, request.body(Empty::new()).unwrap()).await;
    (response.status(), text(response).await)
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Signs in, and returns the cookie.
async fn sign_in(proxy: SocketAddr) -> String {
    let request = Request::post("/-/in/ada").body(Empty::new()).unwrap();
    let response = send(proxy, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn chunk(body: &mut Incoming) -> Option<Bytes> {
    Some(body.frame().await?.unwrap().into_data().unwrap())
}

fn pipe() -> (UnboundedSender<&'static str>, Pipe) {
    let (writing, reading) = mpsc::unbounded_channel();
    (writing, Pipe(reading))
}

#[tokio::test]
async fn a_response_reaches_the_client_as_it_is_written() {
    let (bodies, waiting) = mpsc::unbounded_channel();
    let waiting = std::sync::Arc::new(tokio::sync::Mutex::new(waiting));
    let behind = upstream(move |_| {
        let waiting = waiting.clone();
        async move { Response::new(waiting.lock().await.recv().await.unwrap()) }
    });
    let proxy = proxy(behind.await).await;
    let (writing, body) = pipe();
    bodies.send(body).unwrap();
    // The head arrives before anything of the body is written.
    let mut body = send(proxy, Request::new(Empty::new())).await.into_body();
    for word in ["one", "two", "three"] {
        writing.send(word).unwrap();
        assert_eq!(chunk(&mut body).await.unwrap(), word);
    }
    drop(writing);
    assert_eq!(chunk(&mut body).await, None);
}

#[tokio::test]
async fn a_request_reaches_the_service_as_it_is_written() {
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let behind = upstream(move |request: Request<Incoming>| {
        let heard = heard.clone();
        async move {
            let mut body = request.into_body();
            while let Some(chunk) = chunk(&mut body).await {
                heard.send(chunk).unwrap();
            }
            Response::new(Full::from("done"))
        }
    });
    let proxy = proxy(behind.await).await;
    let (writing, body) = pipe();
    let answer = tokio::spawn(send(proxy, Request::post("/").body(body).unwrap()));
    for word in ["one", "two", "three"] {
        writing.send(word).unwrap();
        assert_eq!(hearing.recv().await.unwrap(), word);
    }
    drop(writing);
    assert_eq!(text(answer.await.unwrap()).await, "done");
}

#[tokio::test]
async fn the_owner_is_told_and_cannot_be_forged() {
    let proxy = proxy(upstream(echo).await).await;
    let cookie = sign_in(proxy).await;
    let forged: [&[(&str, &str)]; 5] = [
        &[],
        &[("x-owner", "root"), ("X-Owner", "root")],
        &[("x_owner", "root")],
        &[("connection", "x-owner")],
        &[("connection", "close, X-Owner"), ("x-owner", "root")],
    ];
    for headers in forged {
        let (status, seen) = ask(proxy, "GET", "/", headers).await;
        assert_eq!((status, seen.contains("owner")), (StatusCode::OK, false), "{headers:?}: {seen}");
        let signed_in = [headers, &[(COOKIE.as_str(), &cookie)]].concat();
        let (_, seen) = ask(proxy, "GET", "/", &signed_in).await;
        let owners: Vec<_> = seen.lines().filter(|line| line.contains("owner")).collect();
        assert_eq!(owners, ["x-owner: ada"], "{headers:?}: {seen}");
    }
    ask(proxy, "POST", "/-/out", &[(COOKIE.as_str(), &cookie)]).await;
    let (_, seen) = ask(proxy, "GET", "/", &[(COOKIE.as_str(), &cookie)]).await;
    assert!(!seen.contains("owner"), "{seen}");
}

#[tokio::test]
async fn the_cookie_stays_here_and_no_other_is_touched() {
    let proxy = proxy(upstream(echo).await).await;
    let cookie = sign_in(proxy).await;
    let cookies = format!("sid=1;{cookie};  {COOKIE_NAME}x=2; {COOKIE_NAME}=; {COOKIE_NAME}");
    let (_, seen) = ask(proxy, "GET", "/", &[("cookie", &cookies), ("cookie", &cookie), ("cookie", "a=b")]).await;
    let sent: Vec<_> = seen.lines().filter(|line| line.starts_with("cookie")).collect();
    assert_eq!(sent, [format!("cookie: sid=1; {COOKIE_NAME}x=2"), "cookie: a=b".to_owned()]);
    let response = send(proxy, Request::new(Empty::new())).await;
    assert!(response.headers().get_all(SET_COOKIE).iter().eq([&format!("{COOKIE_NAME}x=theirs")]));
}

#[tokio::test]
async fn what_is_for_one_connection_ends_there() {
    let proxy = proxy(upstream(echo).await).await;
    let headers = [
        ("connection", "upgrade, x-mine"),
        ("upgrade", "websocket"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "secret"),
        ("keep-alive", "timeout=5"),
        ("x-kept", "1"),
    ];
    let (_, seen) = ask(proxy, "GET", "http://elsewhere.example/a?b=%20", &headers).await;
    assert_eq!(seen, "GET /a?b=%20 HTTP/1.1\nhost: shop.example\nx-kept: 1\n");
    let response = send(proxy, Request::head("/").body(Empty::new()).unwrap()).await;
    assert!(response.headers().contains_key("x-end") && !response.headers().contains_key("x-hop"));
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_502_and_the_proxy_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs_up = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    // The listener of this address is closed.
    let down = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for behind in [hangs_up, down] {
        let proxy = proxy(behind).await;
        let (status, text) = ask(proxy, "GET", "/", &[]).await;
        assert_eq!((status, text.as_str()), (StatusCode::BAD_GATEWAY, "the service behind does not answer\n"));
        let cookie = sign_in(proxy).await;
        assert_eq!(ask(proxy, "GET", "/", &[("cookie", &cookie)]).await.0, StatusCode::BAD_GATEWAY);
    }
}

#[tokio::test]
async fn odd_requests_are_answered() {
    let proxy = proxy(upstream(echo).await).await;
    for (method, path, status) in [
        (Method::CONNECT, "elsewhere.example:443", StatusCode::METHOD_NOT_ALLOWED),
        (Method::OPTIONS, "*", StatusCode::OK),
        (Method::GET, "/-/in/ada", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/-/in/", StatusCode::NOT_FOUND),
        (Method::POST, "/-/in/a%0ab", StatusCode::NOT_FOUND),
        (Method::POST, "/-/", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(ask(proxy, method.as_str(), path, &[]).await.0, status, "{method} {path}");
    }
}
