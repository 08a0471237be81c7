// The code of a one-time link stands behind the "#", which is sent nowhere: put it into the form, and out of the address.
"use strict";
function take() {
  const field = document.getElementById("code");
  if (field && location.hash.length > 1) {
    field.value = decodeURIComponent(location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
  }
}
take();
addEventListener("hashchange", take);
