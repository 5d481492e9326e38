// Reads a declaration file that tsdown made: its exported functions, classes, constants and types, with their comments.
import ts from 'typescript'

/** Comment of a declaration as Markdown, with its `@param`, `@returns`, `@default`, `@throws` and `@example`. */
function commentOf(node) {
  const found = { text: '', params: {}, returns: undefined, default: undefined, throws: [], example: undefined }
  for (const each of ts.getJSDocCommentsAndTags(node)) {
    if (ts.isJSDoc(each)) found.text = proseOf(each.comment)
    if (!ts.isJSDoc(each)) continue
    for (const tag of each.tags ?? []) {
      const text = proseOf(tag.comment)
      if (ts.isJSDocParameterTag(tag)) found.params[tag.name.getText()] = text
      if (tag.tagName.text === 'returns') found.returns = text
      if (tag.tagName.text === 'default') found.default = text.replace(/\s+/g, ' ')
      if (tag.tagName.text === 'throws') found.throws.push(text.replace(/^\{.*?\}\s*/, ''))
      if (tag.tagName.text === 'example') found.example = text
    }
  }
  return found
}

function proseOf(comment) {
  const text = typeof comment === 'string' ? comment : (ts.getTextOfJSDocComment(comment) ?? '')
  return text.replace(/\{@link\s+([^}\s]+)\s*\}/g, '`$1`').trim()
}

/** Text of a type or signature on one line. */
function flat(node) {
  return ts
    .createPrinter({ removeComments: true })
    .printNode(ts.EmitHint.Unspecified, node, node.getSourceFile())
    .replace(/\s+/g, ' ')
    .replace(/; \}/g, ' }')
    .trim()
}

function parametersOf(node) {
  return node.parameters.map((each) => `${each.name.getText()}${each.questionToken ? '?' : ''}`).join(', ')
}

/** Object types that a parameter names inline, also as parts of an intersection. */
function literalsOf(type) {
  if (type === undefined) return []
  if (ts.isTypeLiteralNode(type)) return [type]
  return ts.isIntersectionTypeNode(type) ? type.types.flatMap(literalsOf) : []
}

/** The parameters of a function with the text of their `@param`, each followed by the options that it declares inline. */
function parameterRowsOf(node, { params }) {
  return node.parameters.flatMap((each) => {
    const name = each.name.getText()
    const inline = literalsOf(each.type).flatMap((literal) => membersOf(literal.members, `${name}.`))
    const isOnlyInline = ts.isTypeLiteralNode(each.type)
    return [
      {
        name: `${name}${each.questionToken ? '?' : ''}`,
        type: isOnlyInline ? 'object' : flat(each.type),
        comment: { text: params[name] ?? '', throws: [] },
      },
      ...inline,
    ]
  })
}

/** Members of the options that a method declares inline: `stage: options.fenced`. */
function inlineOptionsOf(node, prefix) {
  return node.parameters.flatMap((each) =>
    literalsOf(each.type).flatMap((literal) => membersOf(literal.members, `${prefix}${each.name.getText()}.`)),
  )
}

/** Members of an interface or an object type; those of an object in it follow as `outer.inner`. */
function membersOf(members, prefix = '') {
  return members.flatMap((member) => {
    if (member.name === undefined) return []
    const name = `${prefix}${member.name.getText()}`
    const optional = member.questionToken === undefined ? '' : '?'
    const comment = commentOf(member)
    if (ts.isMethodSignature(member) || ts.isMethodDeclaration(member))
      return [
        {
          name: `${name}(${parametersOf(member)})`,
          type: flat(member)
            .replace(/^[^(<]*/, '')
            .replace(/;$/, ''),
          comment,
        },
        ...inlineOptionsOf(member, `${name}: `),
      ]
    if (ts.isConstructorDeclaration(member) || member.type === undefined) return []
    const nested = ts.isTypeLiteralNode(member.type) ? membersOf(member.type.members, `${name}.`) : []
    return [{ name: name + optional, type: nested.length > 0 ? 'object' : flat(member.type), comment }, ...nested]
  })
}

/** The module of src/js that a position of the file comes from: tsdown marks it with `//#region`. */
function moduleAt(text, position) {
  return [...text.slice(0, position).matchAll(/^\/\/#region src\/js\/(\S+)\.d\.ts$/gm)].at(-1)?.[1] ?? ''
}

/** Names of the interfaces that an interface extends. */
function basesOf({ heritageClauses = [] }) {
  return heritageClauses.flatMap(({ types }) => types.map((type) => flat(type)))
}

function declarationOf(statement) {
  const comment = commentOf(statement)
  if (ts.isFunctionDeclaration(statement))
    return {
      kind: 'function',
      call: parametersOf(statement),
      signature: flat(statement),
      members: parameterRowsOf(statement, comment),
      comment,
    }
  if (ts.isInterfaceDeclaration(statement) || ts.isClassDeclaration(statement))
    return { kind: 'members', members: membersOf(statement.members), bases: basesOf(statement), comment }
  if (ts.isTypeAliasDeclaration(statement)) return { kind: 'type', signature: flat(statement.type), comment }
  return undefined
}

/** Exported declarations of a declaration file, and interfaces that they use. */
export function declarationsOf(path, bundled) {
  // tsdown can put the comment of a member at the end of the line before it, where TypeScript does not find it.
  const text = bundled.replace(/; (\/\*\*[^\n]*?\*\/)\n/g, ';\n$1\n')
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const exported = new Set()
  for (const statement of source.statements)
    if (ts.isExportDeclaration(statement))
      for (const each of statement.exportClause?.elements ?? []) exported.add((each.propertyName ?? each.name).text)
  return source.statements.flatMap((statement) => {
    const module = moduleAt(text, statement.getStart())
    if (ts.isVariableStatement(statement))
      return statement.declarationList.declarations
        .filter((each) => exported.has(each.name.getText()))
        .map((each) => ({
          name: each.name.getText(),
          module,
          kind: 'type',
          signature: flat(each.type),
          comment: commentOf(statement),
        }))
    const declaration = declarationOf(statement)
    const isShown = exported.has(statement.name?.text) || ts.isInterfaceDeclaration(statement)
    return declaration === undefined || !isShown ? [] : [{ name: statement.name.text, module, ...declaration }]
  })
}
