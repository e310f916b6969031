/** A command to type, with a button that copies it. */

import { byId, element, setText } from "./dom.js";

const SHOWN_MS = 2_000;

/** Makes a line with a command and its button. */
export function commandLine(command) {
  const code = element("code", {}, command);
  const word = element("span", {}, "Copy");
  const button = element(
    "button",
    { type: "button", class: "copy" },
    word,
    element("span", { class: "hidden" }, `: ${command}`),
  );
  button.addEventListener("click", async () => {
    const isCopied = await copy(command, code);
    setText(word, isCopied ? "Copied" : "Selected");
    setText(byId("announcer"), isCopied ? "Copied." : "Selected. Press Control and C to copy.");
    setTimeout(() => setText(word, "Copy"), SHOWN_MS);
  });
  return element("p", { class: "command" }, code, button);
}

/** A page that did not come by HTTPS or from this computer has no clipboard: there text is selected. */
async function copy(text, code) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}
