"use strict";
// Before the first paint, so that nothing flashes.
try {
  const kept = localStorage.getItem("governance-theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch { /* no storage in this frame: as the system */ }
