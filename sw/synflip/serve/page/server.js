// Requests to the server that this page came from. A token is in the address's fragment, which no server sees.

const TOKEN = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token");
if (location.hash.includes("token=")) {
  sessionStorage.setItem("token", TOKEN);
  history.replaceState(null, "", location.pathname); // not to be read over a shoulder
}

const PAGE = crypto.getRandomValues(new Uint32Array(4)).join("-"); // so that all pages have turns, not all runs

function headers() {
  return {"Synflip-Page": PAGE, ...(TOKEN ? {"Authorization": `Bearer ${TOKEN}`} : {})};
}

async function answered(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer: has it ended?");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.error ?? `The server says ${answer.status}.`);
  }
  return answer;
}

/** What the server says at `path`. */
export async function get(path) {
  return (await answered(path, {headers: headers()})).json();
}

/** The events of a run, [name, numbers], as they come. */
export async function* run(asked, signal) {
  const answer = await answered("/api/run", {
    method: "POST", body: JSON.stringify(asked), signal,
    headers: {...headers(), "Content-Type": "application/json"},
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      part = {done: true};
    }
    if (part.done) throw new Error("The server ended in the middle of a run.");
    const events = (text + part.value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const found = /^event: (.*)\ndata: (.*)$/.exec(event);
      if (!found) continue; // a comment: the server waits too
      yield [found[1], JSON.parse(found[2])];
      if (found[1] === "end") return;
    }
  }
}
