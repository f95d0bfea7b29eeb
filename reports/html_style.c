/* reports/html_style.c: the one style sheet of the HTML report: light and dark, print, narrow screens, contrast of 4.5 : 1 or more. */
#include "reports/html.h"

const char wt_html_style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--card:#f6f8fa;--rule:#d0d7de;--ok:#116329;--bad:#a40e26;--warn:#7d4e00;"
    "--c0:#0550ae;--c1:#bc4c00;--c2:#116329;--c3:#8250df;--c4:#a40e26;--c5:#57606a}"
    "@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#a3adb8;--card:#161b22;--rule:#30363d;--ok:#56d364;--bad:#ff7b72;--warn:#e3b341;"
    "--c0:#79c0ff;--c1:#ffa657;--c2:#7ee787;--c3:#d2a8ff;--c4:#ff7b72;--c5:#a3adb8}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}"
    "main,footer{max-width:76rem;margin:0 auto;padding:1.5rem 1rem 1rem}footer{color:var(--soft);padding-top:0;padding-bottom:2rem}h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}"
    "h2{font-size:1.2rem;margin:2.25rem 0 .75rem;border-bottom:1px solid var(--rule);padding-bottom:.25rem}h3{font-size:1rem;margin:1rem 0 .25rem}"
    "p{margin:.5rem 0;overflow-wrap:anywhere}.soft{color:var(--soft);font-size:.9rem}.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:1rem}.chart{min-width:0;background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.5rem .75rem}.chart h3{margin:.25rem 0}.chart figure{margin:.25rem 0}.span{fill:var(--c5);opacity:.22}.spankey{background:var(--c5);opacity:.45}.area{fill:var(--c0);opacity:.12;stroke:none}.badge{display:inline-block;padding:.1rem .6rem;border-radius:1rem;border:1px solid currentColor;font-weight:600}"
    ".done{color:var(--ok)}.failed{color:var(--bad)}.stopped,.interrupted{color:var(--warn)}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.75rem;margin:1rem 0}.card{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.75rem}"
    ".card b{display:block;font-size:1.5rem;line-height:1.3;font-variant-numeric:tabular-nums}.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}th{font-weight:600}td.n,th.n{text-align:right;white-space:nowrap}"
    "pre,.sample{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.75rem;margin:.5rem 0;white-space:pre-wrap;overflow-wrap:anywhere}"
    "pre,code{font:14px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:.75rem}"
    "figure{margin:.75rem 0}svg{display:block;width:100%;height:auto}svg.interval{min-width:12rem}.grid{stroke:var(--rule);stroke-width:1}.tick{fill:var(--soft);font-size:12px}"
    ".line{fill:none;stroke-width:1.8;stroke-linejoin:round}.level{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:6 4}.band{fill:var(--c0);opacity:.35}.mean{stroke:var(--c0);stroke-width:2}"
    ".limit{stroke:var(--bad);stroke-width:2}.plans{max-width:46rem}.front{fill:var(--c0);fill-opacity:.75}.chosen{fill:var(--c1);stroke:var(--bg);stroke-width:1.5}.rejected{fill:none;stroke:var(--bad);stroke-width:2}.bad{color:var(--bad)}.actual{fill:var(--c1);stroke:var(--bg);stroke-width:1.5}.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:0;margin:.25rem 0}"
    ".key{display:inline-block;width:.8rem;height:.8rem;border-radius:.15rem;margin-right:.4rem;vertical-align:-.05rem}"
    "@media print{main{max-width:none;padding:0}.charts{display:block}.chart{break-inside:avoid;margin-bottom:.5rem}h2{break-after:avoid}figure,table,.card{break-inside:avoid}}";
