/// The page of the server: one file with all that it needs.
enum Page {
  static let html = #"""
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>sharedpack</title>
    <style>
    :root {
      --back: #fbfaf7; --card: #fff; --text: #1d1c1a; --soft: #5f5b54; --line: #d9d4ca; --accent: #14557b;
      --on: #fff; --mark: #fdf0c4; --bad: #9c1f1f;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --back: #17181a; --card: #202225; --text: #ecebe8; --soft: #a8a49c; --line: #3b3e43; --accent: #8cc8ec;
        --on: #10222d; --mark: #4a4122; --bad: #ff9d93;
      }
    }
    * { box-sizing: border-box; }
    body {
      margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif;
      display: grid; grid-template: "head head head" auto "docs talk found" 1fr / 17rem minmax(0, 1fr) 20rem;
      gap: 1rem; padding: 1rem; min-height: 100vh;
    }
    header { grid-area: head; display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; }
    h1 { font-size: 1.2rem; margin: 0; }
    h2 { font-size: 1rem; margin: 0 0 .5rem; }
    #docs { grid-area: docs; } main { grid-area: talk; } #found { grid-area: found; }
    section, main {
      background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; min-width: 0;
    }
    main { display: flex; flex-direction: column; gap: 1rem; }
    .soft { color: var(--soft); font-size: .875rem; }
    .bad { color: var(--bad); }
    button, input, textarea { font: inherit; color: inherit; }
    button, .button {
      border: 1px solid var(--accent); background: var(--accent); color: var(--on); border-radius: .4rem;
      padding: .35rem .8rem; cursor: pointer;
    }
    button.plain { background: none; color: var(--accent); }
    button:disabled { opacity: .5; cursor: default; }
    :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
    input[type=password], input[type=search], textarea {
      width: 100%; border: 1px solid var(--line); border-radius: .4rem; background: var(--back); padding: .5rem;
    }
    textarea { resize: vertical; min-height: 4.5rem; }
    ul { list-style: none; margin: .5rem 0; padding: 0; }
    #list { max-height: 22rem; overflow: auto; }
    #list li { display: flex; gap: .5rem; align-items: start; padding: .25rem 0; }
    #list label { flex: 1; overflow-wrap: anywhere; }
    #list button { padding: 0 .4rem; border-color: transparent; }
    #talk { flex: 1; display: flex; flex-direction: column; gap: .75rem; }
    .turn { border-radius: .6rem; padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
    .user { background: var(--mark); align-self: end; max-width: 85%; }
    .assistant { border: 1px solid var(--line); }
    .row { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
    #sources li { border-left: 3px solid var(--accent); padding: .1rem 0 .1rem .6rem; margin: .6rem 0; }
    #sources blockquote { margin: .25rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem; }
    progress { width: 100%; accent-color: var(--accent); }
    [hidden] { display: none !important; }
    @media (max-width: 60rem) {
      body { grid-template: "head" auto "talk" auto "found" auto "docs" auto / minmax(0, 1fr); }
    }
    </style>
    </head>
    <body>
    <header>
      <h1>sharedpack</h1><span class="soft" id="model">…</span>
    </header>
    <section id="docs" aria-labelledby="docs-title">
      <h2 id="docs-title">Documents</h2>
      <form id="key-row" hidden>
        <label for="key">Key</label>
        <input type="password" id="key" autocomplete="off">
        <button type="submit" class="plain">Use it</button>
      </form>
      <p class="soft" id="docs-note">Looking for documents…</p>
      <input type="search" id="filter" aria-label="Find a document by its name" placeholder="Find by name" hidden>
      <ul id="list"></ul>
      <form id="upload">
        <p><label for="file">Add a text</label><br>
        <input type="file" id="file" accept=".txt,.md,text/*" style="max-width:100%"></p>
        <button type="submit" class="plain">Read it</button>
        <div id="upload-state" hidden>
          <progress id="bar" max="1" value="0" aria-label="How much of the text is read"></progress>
          <p class="soft" id="upload-note" role="status"></p>
        </div>
      </form>
    </section>
    <main>
      <div id="talk" aria-live="polite" aria-label="Conversation"></div>
      <form id="ask">
        <label for="question">Question</label>
        <textarea id="question" required></textarea>
        <div class="row" style="margin-top:.5rem">
          <button type="submit" id="send">Ask</button>
          <button type="button" id="stop" class="plain" hidden>Stop</button>
          <button type="button" id="new" class="plain">New conversation</button>
          <span class="soft" id="note" role="status">Enter asks, Shift+Enter begins a line.</span>
        </div>
      </form>
    </main>
    <section id="found" aria-labelledby="found-title">
      <h2 id="found-title">Sources</h2>
      <p class="soft" id="found-note">What is read of the documents for an answer is shown here.</p>
      <ol id="sources" style="padding:0;list-style:none;margin:0"></ol>
    </section>
    <script>
    "use strict";
    const at = (id) => document.getElementById(id);
    const make = (tag, text, name) => {
      const node = document.createElement(tag);
      if (text !== undefined) node.textContent = text;
      if (name) node.className = name;
      return node;
    };
    let model = "", messages = [], chosen = new Set(), running = null;
    at("key").value = sessionStorage.getItem("key") || "";

    async function call(path, options = {}) {
      const headers = Object.assign({}, options.headers);
      if (at("key").value) headers.Authorization = "Bearer " + at("key").value;
      const response = await fetch(path, Object.assign({}, options, { headers }));
      if (response.status === 401) at("key-row").hidden = false;
      if (!response.ok) {
        let text = response.statusText || "status " + response.status;
        try { text = (await response.json()).error.message; } catch { }
        throw new Error(text);
      }
      return response;
    }

    // The events of a stream: each is an object; the last one is none.
    async function* events(response) {
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        rest += value;
        const parts = rest.split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
          if (!part.startsWith("data: ")) continue;
          if (part === "data: [DONE]") return;
          const event = JSON.parse(part.slice(6));
          if (event.error) throw new Error(event.error.message);
          yield event;
        }
      }
    }

    async function refresh() {
      try {
        model = (await (await call("/v1/models")).json()).data[0].id;
        at("model").textContent = model;
        const documents = (await (await call("/v1/documents")).json()).data;
        const names = new Set(documents.map((each) => each.name));
        chosen = new Set([...chosen].filter((name) => names.has(name)));
        show(documents);
      } catch (error) {
        at("docs-note").textContent = error.message;
        at("docs-note").classList.add("bad");
      }
    }

    function show(documents) {
      at("docs-note").classList.remove("bad");
      at("docs-note").textContent = documents.length
        ? "Choose those that a question is about."
        : "There are none yet. Questions go to the model alone.";
      at("filter").hidden = documents.length < 10;
      at("list").replaceChildren(...documents.map((each, number) => {
        const item = make("li"), box = make("input"), label = make("label", each.name);
        box.type = "checkbox";
        box.id = "document-" + number;
        box.checked = chosen.has(each.name);
        box.addEventListener("change", () => {
          if (box.checked) chosen.add(each.name); else chosen.delete(each.name);
        });
        label.htmlFor = box.id;
        label.append(make("br"), make("span", each.tokens.toLocaleString() + " tokens", "soft"));
        item.append(box, label);
        if (!each.shared) {
          const remove = make("button", "×", "plain");
          remove.type = "button";
          remove.title = "Remove " + each.name;
          remove.setAttribute("aria-label", remove.title);
          remove.addEventListener("click", async () => {
            if (!confirm("Remove " + each.name + "? Nothing is left of it.")) return;
            try { await call("/v1/documents?name=" + encodeURIComponent(each.name), { method: "DELETE" }); }
            catch (error) { at("docs-note").textContent = error.message; }
            refresh();
          });
          item.append(remove);
        }
        item.dataset.name = each.name.toLowerCase();
        return item;
      }));
      filter();
    }

    function filter() {
      const text = at("filter").value.toLowerCase();
      for (const item of at("list").children) item.hidden = !item.dataset.name.includes(text);
    }

    function showSources(found) {
      const sources = found ? found.sources : [];
      at("found-note").textContent = !found
        ? "No document was asked about."
        : sources.length < found.source_count
          ? "The best " + sources.length + " of " + found.source_count + " parts that are read:"
          : "What is read for this answer, the best first:";
      at("sources").replaceChildren(...sources.map((source) => {
        const item = make("li");
        item.append(make("strong", source.document));
        const facts = [];
        if (source.byte_range) facts.push("bytes " + source.byte_range[0] + " to " + source.byte_range[1]);
        facts.push("score " + source.score.toFixed(1));
        item.append(make("div", facts.join(", "), "soft"));
        if (source.text) item.append(make("blockquote", source.text));
        return item;
      }));
    }

    async function ask(question) {
      messages.push({ role: "user", content: question });
      at("talk").append(make("div", question, "turn user"));
      const answer = make("div", "", "turn assistant");
      at("talk").append(answer);
      at("send").disabled = true;
      at("stop").hidden = false;
      at("note").textContent = "Reading…";
      running = new AbortController();
      let text = "", usage = null;
      try {
        const body = { model, messages, stream: true, stream_options: { include_usage: true } };
        if (chosen.size) body.documents = [...chosen];
        const response = await call("/v1/chat/completions", {
          method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
          signal: running.signal,
        });
        let isFirst = true;
        for await (const event of events(response)) {
          if (isFirst) { showSources(event.sharedpack); isFirst = false; }
          if (event.usage) usage = event.usage;
          const piece = event.choices.length ? event.choices[0].delta.content || "" : "";
          text += piece;
          answer.textContent = text;
          answer.scrollIntoView({ block: "nearest" });
        }
        at("note").textContent = usage
          ? usage.prompt_tokens + " tokens read, " + usage.completion_tokens + " written." : "";
      } catch (error) {
        if (error.name === "AbortError") at("note").textContent = "Stopped.";
        else { at("note").textContent = ""; answer.append(make("p", error.message, "bad")); }
      }
      if (text) messages.push({ role: "assistant", content: text }); else messages.pop();
      running = null;
      at("send").disabled = false;
      at("stop").hidden = true;
      at("question").focus();
    }

    at("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      const question = at("question").value.trim();
      if (!question || running) return;
      at("question").value = "";
      ask(question);
    });
    at("question").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        at("ask").requestSubmit();
      }
    });
    at("stop").addEventListener("click", () => running && running.abort());
    at("new").addEventListener("click", () => {
      if (running) running.abort();
      messages = [];
      at("talk").replaceChildren();
      at("sources").replaceChildren();
      at("question").focus();
    });
    at("key-row").addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem("key", at("key").value);
      refresh();
    });
    at("filter").addEventListener("input", filter);

    at("upload").addEventListener("submit", async (event) => {
      event.preventDefault();
      const file = at("file").files[0];
      if (!file) { at("file").focus(); return; }
      const bar = at("bar"), note = at("upload-note");
      at("upload-state").hidden = false;
      note.classList.remove("bad");
      bar.removeAttribute("value");
      note.textContent = "Sending " + file.name + "…";
      try {
        const response = await call("/v1/documents?name=" + encodeURIComponent(file.name), {
          method: "POST", headers: { "Content-Type": "text/plain", Accept: "text/event-stream" }, body: file,
        });
        for await (const event of events(response)) {
          if (event.event === "waiting") note.textContent = "Waiting for its turn…";
          if (event.event === "progress") {
            bar.value = event.done / event.total;
            note.textContent =
              event.done.toLocaleString() + " of " + event.total.toLocaleString() + " tokens are read.";
          }
          if (event.event === "added") {
            bar.value = 1;
            note.textContent = event.document.name + " is there: " + event.document.outcome + ".";
            chosen.add(event.document.name);
          }
        }
        at("file").value = "";
        refresh();
      } catch (error) {
        note.textContent = error.message;
        note.classList.add("bad");
      }
    });

    refresh();
    at("question").focus();
    </script>
    </body>
    </html>
    """#
}
