declare const htm: {
  bind(h: (type: any, props: any, ...children: any[]) => unknown): (strings: TemplateStringsArray, ...values: any[]) => any;
};
export default htm;
