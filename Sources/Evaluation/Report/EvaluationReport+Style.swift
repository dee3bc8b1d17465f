extension EvaluationReport {
  /// Series colours after Okabe and Ito, told apart by people with any colour vision, darker or lighter as the page is.
  static let style = """
    :root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --quiet: #5b6470; --rule: #d9dee4; --accent: #0a5fa5;
      --s1: #0a5fa5; --s2: #c2500a; --s3: #00795a; --s4: #a8478a; --s5: #8a6d00; --s6: #3e4c59; }
    @media (prefers-color-scheme: dark) { :root { --page: #14171b; --ink: #e6e9ed; --quiet: #9aa4af; --rule: #30363d;
      --accent: #6cb4ee; --s1: #6cb4ee; --s2: #f29559; --s3: #3fc79a; --s4: #dd94c4; --s5: #e0c04a; --s6: #b8c2cc; } }
    body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
    main { max-width: 72rem; margin: 0 auto; padding: 1.5rem; }
    h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid var(--rule); }
    h3 { font-size: 1rem; margin: 1.5rem 0 0.5rem; }
    nav { font-size: 0.9rem; line-height: 1.9; } a { color: var(--accent); }
    .facts { color: var(--quiet); font-size: 0.85rem; overflow-wrap: anywhere; }
    ul { padding-left: 1.2rem; font-size: 0.9rem; }
    .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1.5rem; }
    figure { margin: 0; } svg { width: 100%; height: auto; display: block; font-size: 12px; }
    svg text { fill: var(--ink); } svg .title { font-size: 14px; font-weight: 600; } svg .tick { fill: var(--quiet); }
    svg .end { text-anchor: end; } svg .middle, svg .value { text-anchor: middle; }
    svg .grid { stroke: var(--rule); } svg .reference { stroke: var(--quiet); stroke-dasharray: 4 4; }
    svg .cell { fill: var(--accent); } svg .value.on { fill: var(--page); }
    .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
    .s4 { --c: var(--s4); } .s5 { --c: var(--s5); } .s6 { --c: var(--s6); }
    .series polyline { fill: none; stroke: var(--c); stroke-width: 2; }
    .series line { stroke: var(--c); stroke-width: 1.5; opacity: 0.6; } .series circle { fill: var(--c); }
    .d1 polyline { stroke-dasharray: 7 4; } .d2 polyline { stroke-dasharray: 2 4; }
    .legend { margin: 0.3rem 0 0; font-size: 0.8rem; display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; }
    .entry i { display: inline-block; width: 1.2em; height: 0.25em; margin-right: 0.4em; vertical-align: middle;
      background: var(--c); }
    .d1 i { background: repeating-linear-gradient(90deg, var(--c) 0 5px, transparent 5px 8px); }
    .d2 i { background: repeating-linear-gradient(90deg, var(--c) 0 2px, transparent 2px 5px); }
    .table { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.82rem; font-variant-numeric: tabular-nums; }
    th, td { padding: 0.2rem 0.7rem 0.2rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
    th { color: var(--quiet); font-weight: 600; } .text { text-align: left; }
    """
}
