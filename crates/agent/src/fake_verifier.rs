//! A verifier in this process that answers as a test wants.

use tokio::net::TcpListener;

/// Serves `routes` until the test ends. Gives the URL.
pub(crate) async fn serve(routes: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}
