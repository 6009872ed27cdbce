"use strict";
// HTML can't copy a command by itself.
const copy = async (button) => {
  const code = button.previousElementSibling;
  let done = true;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // A page that may not write to the clipboard may still copy its selection.
    getSelection().selectAllChildren(code);
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Press Ctrl+C";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
};
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
