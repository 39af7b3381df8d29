// Shows openapi.json, which lies beside the page. Addresses are relative: the page works below any prefix of a proxy.

// The document names the server by its path. A proxy's prefix comes before that, unless the proxy has told the server.
const prefix = location.pathname.replace(/\/docs$/, "");
const belowPrefix = (url) => (url === "/torc-service/v1" ? prefix + url : url);
const serversBelowPrefix = {
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (update) => (spec) =>
          update({ ...spec, servers: spec.servers?.map((server) => ({ ...server, url: belowPrefix(server.url) })) }),
      },
    },
  },
};

// Swagger UI takes "_" in a permalink for an old way to write a space, and complains. Here it is part of most names.
const namesWithUnderscores = {
  statePlugins: {
    layout: {
      wrapActions: {
        parseDeepLinkHash: (_, { layoutActions, layoutSelectors }) => (hash) => {
          const names = hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
          const shown = layoutSelectors.isShownKeyFromUrlHashArray(names);
          if (shown.length > 2) layoutActions.show(["operations-tag", names[0]], true);
          if (shown.length > 1) {
            layoutActions.show(shown, true);
            layoutActions.scrollTo(shown);
          }
        },
      },
    },
  },
};

// Swagger UI reads the whole document again for each operation that is opened, which takes a second; all that it needs
// is what "#/components/…" refers to, put in place.
const resolveHere = {
  fn: {
    resolveSubtree: async (whole, path) => {
      const at = (names) => names.reduce((value, name) => value?.[name], whole);
      const resolved = (value) => {
        if (Array.isArray(value)) return value.map(resolved);
        if (value === null || typeof value !== "object") return value;
        if (typeof value.$ref === "string") return { ...resolved(at(value.$ref.slice(2).split("/"))), $$ref: value.$ref };
        return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, resolved(inner)]));
      };
      return { spec: resolved(at(path)), errors: [] };
    },
  },
};

// What the filter finds is shown opened.
const openWhatIsFound = {
  statePlugins: {
    layout: {
      wrapActions: {
        updateFilter: (update, { specSelectors, layoutActions }) => (filter) => {
          for (const tag of specSelectors.taggedOperations().keySeq()) {
            layoutActions.show(["operations-tag", tag], filter !== "" && filter !== "true");
          }
          return update(filter);
        },
      },
    },
  },
};

// Light or dark, as the system is.
const dark = matchMedia("(prefers-color-scheme: dark)");
const followTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", followTheme);
followTheme();

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  plugins: [serversBelowPrefix, namesWithUnderscores, resolveHere, openWhatIsFound],
  validatorUrl: null, // no badge from elsewhere
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  filter: true,
  deepLinking: true,
  displayOperationId: true,
  displayRequestDuration: true,
  persistAuthorization: false,
});
