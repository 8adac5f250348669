"""Pages that lie elsewhere in the repository become pages of the site, with their links and pictures."""

import os
import pathlib
import posixpath
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parent.parent
# Where files are shown that are no pages; unknown outside of GitHub's workflows, which say it.
REPOSITORY = os.environ.get('GITHUB_REPOSITORY', '')
# Files of the repository, by the page that each becomes.
PAGES = {
    'index.md': 'README.md',
    'building.md': 'BUILD.md',
    'contributing.md': 'CONTRIBUTING.md',
    'results.md': 'RESULTS.md',
    **{
        f'results/{path.name}': f'results/{path.name}'
        for path in sorted((ROOT / 'results').glob('*.md'))
    },
    'speed.md': 'benchmarks/README.md',
    'changes.md': 'CHANGELOG.md',
}
_LINK = re.compile(r'(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)')


def on_files(files, config):
    """Adds those pages, and the pictures of the results."""
    for page, path in PAGES.items():
        text = (ROOT / path).read_text(encoding='utf-8')
        files.append(File.generated(config, page, content=text))
    for picture in sorted((ROOT / 'results').glob('*.png')):
        files.append(File.generated(config, f'results/{picture.name}', abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Lets links lead to pages of the site where there are such, and else to the repository."""
    folder = posixpath.dirname(PAGES.get(page.file.src_uri, f'docs/{page.file.src_uri}'))
    pages = {path: name for name, path in PAGES.items()}

    def lead(match):
        image, text, target, anchor = (part or '' for part in match.groups())
        if re.match(r'[a-z]+:', target):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if not (ROOT / path).exists():
            raise ValueError(f'{page.file.src_uri}: there is no file {path} in the repository')
        name = pages.get(path) or path.removeprefix('docs/')
        if files.get_file_from_path(name) is not None:
            here = posixpath.dirname(page.file.src_uri) or '.'
            return f'{image}[{text}]({posixpath.relpath(name, here)}{anchor})'
        if REPOSITORY:
            return f'{image}[{text}](https://github.com/{REPOSITORY}/blob/main/{path}{anchor})'
        return text

    return _LINK.sub(lead, markdown)
