// Shows outcomes as they come. Without script the page refreshes itself.
const region = document.querySelector("[data-stroom]");

const ownText = (node) => [...node.childNodes].some((one) => one.nodeType === Node.TEXT_NODE && one.data.trim());
const alike = (old, fresh) =>
  old.tagName === fresh.tagName && old.className === fresh.className && !ownText(old) && !ownText(fresh);

// Changes only what is new: who listens hears one line change, and what was opened or has the focus stays.
const renew = (old, fresh) => {
  const next = [...fresh.children];
  let at = old.firstElementChild;
  next.forEach((one, number) => {
    const here = at;
    if (!here || (!alike(here, one) && next.slice(number + 1).some((later) => alike(here, later)))) {
      old.insertBefore(one, here);
      return;
    }
    at = here.nextElementSibling;
    if (here.isEqualNode(one)) return;
    if (alike(here, one)) renew(here, one);
    else here.replaceWith(one);
  });
  while (at) {
    const over = at;
    at = at.nextElementSibling;
    over.remove();
  }
};

if (region) {
  const source = new EventSource(region.dataset.stroom);
  source.onmessage = (event) => {
    const fresh = document.createElement("div");
    fresh.innerHTML = JSON.parse(event.data);
    renew(region, fresh);
  };
  source.addEventListener("klaar", () => source.close());
  // Refused, not cut off: nobody is signed in any more, or the node started anew. The page says which.
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
  };
}
