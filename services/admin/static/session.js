// When the server does not take this page's connection any more, because it or the session is gone: load the page anew,
// which leads to the login. A server that is merely away is waited for. Who logs out is on the way elsewhere already:
// loading anew would end that way, and the issuer's session would not end.
(() => {
  let leaving = false;
  window.addEventListener("submit", (event) => {
    leaving = !event.defaultPrevented; // other forms are taken by the page itself
  });
  const attach = () => {
    if (!window.socket) {
      setTimeout(attach, 100);
      return;
    }
    window.socket.on("connect_error", async () => {
      try {
        const answer = await fetch("/session", { cache: "no-store" });
        if (answer.status === 401 && !leaving) window.location.reload();
      } catch {
        // not even an answer: the connection is tried again by itself
      }
    });
  };
  attach();
})();
