// Shows outcomes as they come. Without script the page refreshes itself.
const region = document.querySelector("[data-stroom]");
if (region) {
  const source = new EventSource(region.dataset.stroom);
  source.onmessage = (event) => { region.innerHTML = JSON.parse(event.data); };
  source.addEventListener("klaar", () => source.close());
}
