/* reports/html_style.c: the one style sheet of the HTML report: light and dark, print, narrow screens, contrast of 4.5 : 1 or more. */
#include "reports/html.h"

/* clang-format off: a rule a line */
const char *const wt_html_style[] = {
    /* colours */
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--card:#f6f8fa;--rule:#d0d7de;"
    "--ok:#116329;--bad:#a40e26;--warn:#7d4e00;--c0:#0550ae;--c1:#bc4c00;--c2:#116329;--c3:#8250df;--c4:#a40e26;--c5:#57606a;--c6:#0b6b74;--c7:#7d4e00}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#a3adb8;--card:#161b22;--rule:#30363d;"
    "--ok:#56d364;--bad:#ff7b72;--warn:#e3b341;--c0:#79c0ff;--c1:#ffa657;--c2:#7ee787;--c3:#d2a8ff;--c4:#ff7b72;--c5:#a3adb8;--c6:#56d4dd;--c7:#e3b341}}\n",
    /* page and text */
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\n"
    "main,footer{max-width:78rem;margin:0 auto;padding:1.25rem 1rem 1rem}"
    "footer{color:var(--soft);font-size:.85rem;padding-top:0;padding-bottom:2rem}\n"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}"
    "h2{font-size:1.15rem;margin:2rem 0 .6rem;border-bottom:1px solid var(--rule);padding-bottom:.25rem}"
    "h3{font-size:.95rem;margin:.9rem 0 .2rem}p,li,dd{overflow-wrap:anywhere}p{margin:.4rem 0}\n"
    ".soft{color:var(--soft);font-size:.85rem;font-weight:400}.verdict{font-size:1.05rem}"
    ".badge{display:inline-block;padding:0 .6rem;border-radius:1rem;border:1.5px solid currentColor;font-weight:600;font-size:.95rem}"
    ".done{color:var(--ok)}.failed,.bad{color:var(--bad)}.stopped,.interrupted{color:var(--warn)}.running{color:var(--c0)}\n",
    /* figures at a glance */
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.75rem;margin:1rem 0}"
    ".card{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.6rem .75rem;min-width:0}"
    ".card .name{display:block;font-size:.9rem;font-weight:600}"
    ".card b{font-size:1.4rem;line-height:1.35;font-variant-numeric:tabular-nums}"
    ".card .pm,.card .soft{display:block;color:var(--soft);font-size:.8rem;line-height:1.35;overflow-wrap:anywhere}\n"
    ".first{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,4fr);gap:0 2rem}.first h2{margin-top:1rem}\n"
    ".promises,.runs{list-style:none;margin:0;padding:0}"
    ".promises li{display:grid;grid-template-columns:7rem minmax(0,1fr) 11.5rem;gap:0 .75rem;align-items:baseline;"
    "padding:.3rem 0;border-bottom:1px solid var(--rule);font-variant-numeric:tabular-nums}.promises b{white-space:nowrap}"
    ".promises .promised{font-size:.9rem}.promises .actual-figure{text-align:right;font-weight:600}"
    ".promises .picture{grid-column:2}.promises .limit-figure{text-align:right;font-size:.85rem;color:var(--soft)}"
    ".runs li{padding:.3rem 0;border-bottom:1px solid var(--rule)}\n"
    ".samples{margin:0 0 .75rem;background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.5rem .75rem}"
    ".samples dt{font-size:.8rem;font-weight:600;color:var(--soft);margin-top:.35rem}.samples dt:first-child{margin-top:0}"
    ".samples dd{margin:0;white-space:pre-wrap;font-size:.95rem}.samples .before,.samples .after{padding-left:.5rem;border-left:3px solid var(--rule)}"
    ".samples .prompt{max-height:8rem;overflow:auto}.samples .after{border-color:var(--ok)}\n",
    /* tables and facts */
    ".scroll{overflow-x:auto;min-width:0}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.95rem}"
    "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}th{font-weight:600}"
    "td.n,th.n{text-align:right;white-space:nowrap;width:1%}"
    ".compared td{min-width:7rem;max-width:22rem;overflow-wrap:anywhere}.compared .same td{color:var(--soft)}\n"
    ".facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,17rem),1fr));gap:.1rem 1.5rem;margin:.5rem 0}"
    ".facts div{min-width:0;padding:.25rem 0;border-bottom:1px solid var(--rule)}"
    ".facts dt{font-size:.8rem;color:var(--soft)}.facts dd{margin:0}.facts .wide{grid-column:1/-1}\n"
    ".beside{display:grid;grid-template-columns:minmax(0,2fr) minmax(0,3fr);gap:1rem;margin-top:1rem;align-items:start}\n"
    "pre{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.75rem;margin:.5rem 0;white-space:pre-wrap;"
    "overflow-wrap:anywhere;font:14px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}\n",
    /* charts */
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:1rem}"
    ".chart{min-width:0;background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.5rem .75rem}"
    ".chart h3{margin:.1rem 0}figure{margin:.4rem 0}.chart figure{margin:.1rem 0}svg{display:block;width:100%;height:auto}\n"
    ".grid{stroke:var(--rule);stroke-width:1}.tick{fill:var(--soft);font-size:11.5px}"
    ".line{fill:none;stroke-width:1.6;stroke-linejoin:round}.area{fill:var(--c0);opacity:.12;stroke:none}"
    ".span{fill:var(--c5);opacity:.22}.level{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:6 4}"
    ".band{fill:var(--c0);opacity:.35}.mean{stroke:var(--c0);stroke-width:2}.limit{stroke:var(--bad);stroke-width:2}"
    ".front{fill:var(--c0);fill-opacity:.75}.chosen,.actual{fill:var(--c1);stroke:var(--bg);stroke-width:1.5}"
    ".rejected{fill:none;stroke:var(--bad);stroke-width:1.6}\n"
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1rem;padding:0;margin:.25rem 0;font-size:.9rem}"
    ".small{font-size:.85rem;color:var(--soft)}"
    ".key{display:inline-block;width:.75rem;height:.75rem;border-radius:.15rem;margin-right:.4rem;vertical-align:-.05rem}"
    ".spankey{background:var(--c5);opacity:.45}.bandkey{background:var(--c0);opacity:.45}.meankey{background:var(--c0);width:3px}"
    ".dotkey{background:var(--c1);border-radius:50%}.limitkey{background:var(--bad);width:3px}\n",
    /* narrow windows, paper */
    "@media (max-width:56rem){.first,.beside{grid-template-columns:minmax(0,1fr)}}\n"
    "@media (max-width:36rem){.facts{grid-template-columns:1fr 1fr;gap:.1rem .75rem}}\n"
    "@media (max-width:36rem){.cards{grid-template-columns:1fr 1fr;gap:.5rem}.card b{font-size:1.2rem}h1{font-size:1.25rem}"
    ".promises li{grid-template-columns:minmax(0,1fr) auto}.promises .promised{grid-column:1/-1;grid-row:2}"
    ".promises .actual-figure{grid-column:2;grid-row:1}.promises .picture{grid-column:1/-1;grid-row:3}"
    ".promises .limit-figure{grid-column:1/-1;grid-row:4}}\n"
    "@media print{main{max-width:none;padding:0}.charts{display:block}.chart{break-inside:avoid;margin-bottom:.5rem}"
    "h2{break-after:avoid}figure,.card,.promises li,tr,.samples{break-inside:avoid}}",
    NULL,
};
/* clang-format on */
