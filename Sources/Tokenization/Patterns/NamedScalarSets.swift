/// The sets of scalars that patterns know by name.
enum NamedScalarSets {
  /// A general category, a group of them, a script or a property; nil when the name is not known. Case, spaces, hyphens
  /// and low lines do not count.
  static func named(_ name: String) -> ScalarSet? {
    let key = String(name.lowercased().filter { $0 != " " && $0 != "_" && $0 != "-" })
    if let tables = groups[key] {
      var set = ScalarSet()
      for table in tables { set.formUnion(ScalarSet(table: table)) }
      return set
    }
    switch key {
    case "any": return ScalarSet().inverted
    case "cn", "unassigned":
      var set = named("any") ?? ScalarSet()
      for (name, tables) in groups where name.count == 2 && name != "lc" {
        for table in tables { set.formIntersection(ScalarSet(table: table).inverted) }
      }
      return set
    case "whitespace", "space": return space
    case "word": return word
    case "digit": return digit
    case "ascii": return ScalarSet([0...0x7F])
    case "xdigit": return hexDigit
    default: return nil
    }
  }

  /// `\s`.
  static var space: ScalarSet {
    ScalarSet([
      0x9...0xD, 0x20...0x20, 0x85...0x85, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029,
      0x202F...0x202F, 0x205F...0x205F, 0x3000...0x3000,
    ])
  }

  /// `\d`.
  static var digit: ScalarSet { ScalarSet(table: UnicodeData.categoryNd) }

  /// `\w`.
  static var word: ScalarSet { ScalarSet(table: UnicodeData.propertyWord) }

  /// `\h`.
  static var hexDigit: ScalarSet { ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66]) }

  private static let letters = [
    UnicodeData.categoryLu, UnicodeData.categoryLl, UnicodeData.categoryLt, UnicodeData.categoryLm,
    UnicodeData.categoryLo,
  ]
  private static let marks = [UnicodeData.categoryMn, UnicodeData.categoryMc, UnicodeData.categoryMe]
  private static let numbers = [UnicodeData.categoryNd, UnicodeData.categoryNl, UnicodeData.categoryNo]
  private static let punctuation = [
    UnicodeData.categoryPc, UnicodeData.categoryPd, UnicodeData.categoryPs, UnicodeData.categoryPe,
    UnicodeData.categoryPi, UnicodeData.categoryPf, UnicodeData.categoryPo,
  ]
  private static let symbols = [
    UnicodeData.categorySm, UnicodeData.categorySc, UnicodeData.categorySk, UnicodeData.categorySo,
  ]
  private static let separators = [UnicodeData.categoryZs, UnicodeData.categoryZl, UnicodeData.categoryZp]

  private static let groups: [String: [String]] = [
    "l": letters, "letter": letters, "m": marks, "mark": marks, "combiningmark": marks, "n": numbers,
    "number": numbers, "p": punctuation, "punctuation": punctuation, "s": symbols, "symbol": symbols, "z": separators,
    "separator": separators,
    "lu": [UnicodeData.categoryLu], "uppercaseletter": [UnicodeData.categoryLu],
    "ll": [UnicodeData.categoryLl], "lowercaseletter": [UnicodeData.categoryLl],
    "lt": [UnicodeData.categoryLt], "titlecaseletter": [UnicodeData.categoryLt],
    "lc": [UnicodeData.categoryLu, UnicodeData.categoryLl, UnicodeData.categoryLt],
    "lm": [UnicodeData.categoryLm], "modifierletter": [UnicodeData.categoryLm],
    "lo": [UnicodeData.categoryLo], "otherletter": [UnicodeData.categoryLo],
    "mn": [UnicodeData.categoryMn], "nonspacingmark": [UnicodeData.categoryMn],
    "mc": [UnicodeData.categoryMc], "spacingmark": [UnicodeData.categoryMc],
    "me": [UnicodeData.categoryMe], "enclosingmark": [UnicodeData.categoryMe],
    "nd": [UnicodeData.categoryNd], "decimalnumber": [UnicodeData.categoryNd],
    "nl": [UnicodeData.categoryNl], "letternumber": [UnicodeData.categoryNl],
    "no": [UnicodeData.categoryNo], "othernumber": [UnicodeData.categoryNo],
    "pc": [UnicodeData.categoryPc], "connectorpunctuation": [UnicodeData.categoryPc],
    "pd": [UnicodeData.categoryPd], "dashpunctuation": [UnicodeData.categoryPd],
    "ps": [UnicodeData.categoryPs], "openpunctuation": [UnicodeData.categoryPs],
    "pe": [UnicodeData.categoryPe], "closepunctuation": [UnicodeData.categoryPe],
    "pi": [UnicodeData.categoryPi], "initialpunctuation": [UnicodeData.categoryPi],
    "pf": [UnicodeData.categoryPf], "finalpunctuation": [UnicodeData.categoryPf],
    "po": [UnicodeData.categoryPo], "otherpunctuation": [UnicodeData.categoryPo],
    "sm": [UnicodeData.categorySm], "mathsymbol": [UnicodeData.categorySm],
    "sc": [UnicodeData.categorySc], "currencysymbol": [UnicodeData.categorySc],
    "sk": [UnicodeData.categorySk], "modifiersymbol": [UnicodeData.categorySk],
    "so": [UnicodeData.categorySo], "othersymbol": [UnicodeData.categorySo],
    "zs": [UnicodeData.categoryZs], "spaceseparator": [UnicodeData.categoryZs],
    "zl": [UnicodeData.categoryZl], "lineseparator": [UnicodeData.categoryZl],
    "zp": [UnicodeData.categoryZp], "paragraphseparator": [UnicodeData.categoryZp],
    "cc": [UnicodeData.categoryCc], "control": [UnicodeData.categoryCc], "cntrl": [UnicodeData.categoryCc],
    "cf": [UnicodeData.categoryCf], "format": [UnicodeData.categoryCf],
    "co": [UnicodeData.categoryCo], "privateuse": [UnicodeData.categoryCo],
    "alphabetic": [UnicodeData.propertyAlphabetic], "alpha": [UnicodeData.propertyAlphabetic],
    "lowercase": [UnicodeData.propertyLowercase], "lower": [UnicodeData.propertyLowercase],
    "uppercase": [UnicodeData.propertyUppercase], "upper": [UnicodeData.propertyUppercase],
    "alnum": [UnicodeData.propertyAlnum], "punct": [UnicodeData.propertyPunct],
    "emoji": [UnicodeData.propertyEmoji], "ideographic": [UnicodeData.propertyIdeographic],
    "arabic": [UnicodeData.scriptArabic],
    "armenian": [UnicodeData.scriptArmenian],
    "balinese": [UnicodeData.scriptBalinese],
    "bengali": [UnicodeData.scriptBengali],
    "bopomofo": [UnicodeData.scriptBopomofo],
    "cherokee": [UnicodeData.scriptCherokee],
    "common": [UnicodeData.scriptCommon],
    "coptic": [UnicodeData.scriptCoptic],
    "cyrillic": [UnicodeData.scriptCyrillic],
    "devanagari": [UnicodeData.scriptDevanagari],
    "ethiopic": [UnicodeData.scriptEthiopic],
    "georgian": [UnicodeData.scriptGeorgian],
    "glagolitic": [UnicodeData.scriptGlagolitic],
    "gothic": [UnicodeData.scriptGothic],
    "greek": [UnicodeData.scriptGreek],
    "gujarati": [UnicodeData.scriptGujarati],
    "gurmukhi": [UnicodeData.scriptGurmukhi],
    "han": [UnicodeData.scriptHan],
    "hangul": [UnicodeData.scriptHangul],
    "hebrew": [UnicodeData.scriptHebrew],
    "hiragana": [UnicodeData.scriptHiragana],
    "inherited": [UnicodeData.scriptInherited],
    "javanese": [UnicodeData.scriptJavanese],
    "kannada": [UnicodeData.scriptKannada],
    "katakana": [UnicodeData.scriptKatakana],
    "khmer": [UnicodeData.scriptKhmer],
    "lao": [UnicodeData.scriptLao],
    "latin": [UnicodeData.scriptLatin],
    "malayalam": [UnicodeData.scriptMalayalam],
    "mongolian": [UnicodeData.scriptMongolian],
    "myanmar": [UnicodeData.scriptMyanmar],
    "nko": [UnicodeData.scriptNko],
    "ogham": [UnicodeData.scriptOgham],
    "oriya": [UnicodeData.scriptOriya],
    "runic": [UnicodeData.scriptRunic],
    "sinhala": [UnicodeData.scriptSinhala],
    "sundanese": [UnicodeData.scriptSundanese],
    "syriac": [UnicodeData.scriptSyriac],
    "tagalog": [UnicodeData.scriptTagalog],
    "tamil": [UnicodeData.scriptTamil],
    "telugu": [UnicodeData.scriptTelugu],
    "thaana": [UnicodeData.scriptThaana],
    "thai": [UnicodeData.scriptThai],
    "tibetan": [UnicodeData.scriptTibetan],
    "tifinagh": [UnicodeData.scriptTifinagh],
    "yi": [UnicodeData.scriptYi],
  ]
}
